"""Which backends are in which pool, and what the operator wishes of each: the state under the registry.

A function here makes one change and tells one event. Which changes an operator may make, and in which order,
is for `lb.core.registry` and `lb.core.drain_control` to say.
"""

from collections.abc import Callable, Container, Generator, Iterator
from contextlib import contextmanager
from itertools import count

from lb.core.backend import AdminState, Backend
from lb.core.pool import Pool
from lb.core.registry_events import Subscribers
from lb.settings.backend_spec import BackendSpec


class Membership:
    """All pools and backends by name. A backend's id is unique over all pools.

    No event tells that all that runs on a backend is cut, or that what probes say of it begins anew: `on_cut`
    and `on_judged_anew` are told.
    """

    __slots__ = (
        "_numbers",
        "_put_off",
        "backends",
        "now",
        "on_cut",
        "on_judged_anew",
        "pools",
        "subscribers",
    )

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.pools: dict[str, Pool] = {}
        self.backends: dict[str, Backend] = {}
        self.subscribers = Subscribers()
        self.on_cut: Callable[[Backend], None] = lambda _backend: None
        self.on_judged_anew: Callable[[Backend], None] = lambda _backend: None
        self._put_off: dict[str, Pool] | None = None
        self._numbers = count(1)

    def enter(self, spec: BackendSpec, into: Pool, source: str) -> Backend:
        """A new backend of a spec that was checked; from the configuration it gets its full share at once."""
        backend = Backend(spec, into.name, source, self.now(), into.settings)
        backend.serial = backend.cuts = next(self._numbers)
        self.backends[backend.id] = backend
        into.enter(backend)
        if source != "config":
            backend.begin_ramp(self.now())
        self.subscribers.tell("added", backend, spec.url)
        self.reconsider(into)
        return backend

    def leave(self, backend: Backend) -> None:
        """Take a backend out. Requests that run on it go on, and count in no pool."""
        if backend.removed:
            return
        backend.removed = True
        del self.backends[backend.id]
        pool = self.pools[backend.pool]
        pool.leave(backend)
        self.subscribers.tell("removed", backend)
        self.reconsider(pool)

    def cut(self, backend: Backend) -> int:
        """Cut all that runs on a backend; how many requests that were, as far as it is known now."""
        backend.cuts = next(self._numbers)
        self.on_cut(backend)
        in_flight = backend.in_flight
        for holder in [*backend.running, *backend.awaited]:
            holder.cut()
        return in_flight

    def others(self, pool: Pool, wanted: Container[str]) -> Generator[None, None, list[Backend]]:
        """The backends of the pool that are not among these ids; one is looked at with each step."""
        found = []
        for backend in [*pool.backends]:
            if backend.spec.id not in wanted and not backend.removed:
                found.append(backend)
            yield
        return found

    def emptying(self) -> Iterator[None]:
        """Forget all backends, one with each step; nobody is told."""
        for pool in self.pools.values():
            while pool.backends:
                backend = next(reversed(pool.backends))
                pool.leave(backend)
                del self.backends[backend.id]
                yield

    def wish(self, backend: Backend, state: AdminState, detail: str = "") -> None:
        """Set the operator's wish; an event only if it is another one."""
        drain = backend.drain
        if (
            state is AdminState.READY
            and drain is not None
            and (drain.outcome is not None or not drain.is_sources)
        ):
            backend.drain = None
        if backend.admin_state is state:
            return
        backend.admin_state, backend.since = state, self.now()
        if state is AdminState.READY:
            backend.begin_ramp(backend.since)
        self.subscribers.tell(state.value, backend, detail)
        self.reconsider(self.pools[backend.pool])

    @contextmanager
    def together(self) -> Iterator[None]:
        """Batch changes: each pool calls `reconsider` once, on exit, even after an error.

        That looks at all backends of the pool, so a thousand that come one by one would cost a million looks.
        """
        if self._put_off is not None:
            yield
            return
        self._put_off = {}
        try:
            yield
        finally:
            pools, self._put_off = self._put_off, None
            for pool in pools.values():
                pool.reconsider()
                for _ in pool.settling():
                    pass

    def reconsider(self, pool: Pool) -> None:
        """The pool's backends or settings have changed: `Pool.reconsider`, now or at the end of the batch."""
        if self._put_off is None:
            pool.reconsider()
        else:
            self._put_off[pool.name] = pool
