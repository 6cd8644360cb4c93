"""What operators want, from the program that runs to the one that replaces it: drains that go on, health.

The differences of the state file go ahead (`lb.config.state_file`). A drain that goes on is told last, with
the time that it has left. Requests that the old program still finishes count in the new one too: there an
`Elsewhere` stands for each. So a drain ends when the last request in either program has, and caps hold over
both.
"""

from collections.abc import Callable, Mapping

from lb.config.inheritance import Found
from lb.control import Control
from lb.core.announced import Notice
from lb.core.backend import Backend
from lb.core.drain import Then
from lb.core.health.probe_verdict import Check, Verdict
from lb.core.registry import Event, Registry
from lb.upgrade.handover_messages import RunningDrain, TakeOver, Wished


def down(registry: Registry) -> dict[str, str]:
    """The backends that probes have found down, and what is wrong with them."""
    return {
        backend.id: backend.health.why
        for backend in registry.backends.values()
        if backend.health is not None and backend.health.verdict is Verdict.DOWN
    }


def found(registry: Registry) -> tuple[Found, ...]:
    """The backends that sources have found and that do not leave, as their sources say them."""
    return tuple(
        Found(pool=each.pool, source=each.source, said=each.said, notice=each.notice)
        for each in registry.backends.values()
        if each.said is not None and each.notice is not Notice.LEAVING
    )


def believe(found_down: Mapping[str, str], registry: Registry) -> None:
    """Begin with what the program before knew: these are down until a probe of our own says otherwise."""
    for backend_id, why in found_down.items():
        backend = registry.backends.get(backend_id)
        health = None if backend is None else backend.health
        while backend is not None and health is not None and health.verdict is not Verdict.DOWN:
            registry.checked(backend, Check(ok=False, why=why, seconds=0.0, at=registry.now()))


def in_flight(registry: Registry) -> dict[str, int]:
    """How many requests run on each backend that has any."""
    return {backend.id: count for backend in registry.backends.values() if (count := backend.in_flight)}


def take_over(control: Control) -> TakeOver:
    """The drains that go on now, and that of the balancer itself."""
    registry, now = control.registry, control.registry.now()
    whole = None if control.drain is None else now - control.drain.started
    return TakeOver(
        drains=tuple(running for each in registry.draining if (running := _running(each, now)) is not None),
        in_flight=in_flight(registry),
        draining_for=whole,
    )


def _running(backend: Backend, now: float) -> RunningDrain | None:
    drain = backend.drain
    if drain is None or drain.outcome is not None:
        return None
    return RunningDrain(
        spec=backend.spec,
        pool=backend.pool,
        left=max(0.0, drain.deadline - now),
        age=now - drain.started,
        then=(Then.REMOVE if drain.leaves else drain.then).value,
        started_with=drain.started_with,
        source=backend.source,
    )


class Elsewhere:
    """A request that runs in the program before, which cuts it where a drain says so."""

    def cut(self) -> None:
        """Nothing to be done here: the other program has been told of the drain too."""


class Heir:
    """What the program before has left to this one: drains that go on, and requests that it finishes.

    `tell` is called with each wish that concerns requests there, and must not wait.
    """

    def __init__(self, control: Control, tell: Callable[[Wished], None]) -> None:
        self._control = control
        self._registry = control.registry
        self._tell = tell
        self._elsewhere: dict[Backend, list[Elsewhere]] = {}

    def take(self, message: TakeOver) -> None:
        """Go on with these drains, and tell the other program of every wish from now on."""
        for drain in message.drains:
            self._add_missing(drain)
        self.count(message.in_flight)
        for drain in message.drains:
            self._go_on(drain)
        if message.draining_for is not None:
            self._control.begin_drain().started -= message.draining_for
        self._registry.subscribe(self._follow)

    def _add_missing(self, told: RunningDrain) -> None:
        """A backend that leaves when it has drained is none of the changes of the state file."""
        if told.spec.id not in self._registry.backends and told.pool in self._registry.pools:
            self._registry.add(told.spec, told.pool, told.source)

    def _go_on(self, told: RunningDrain) -> None:
        backend = self._registry.backends.get(told.spec.id)
        if backend is None or backend.pool != told.pool:
            return
        drain = self._registry.drain(backend, told.left, Then(told.then))
        drain.started, drain.started_with = drain.started - told.age, told.started_with

    def count(self, in_flight: Mapping[str, int]) -> None:
        """So many requests of the program before run on these backends now."""
        for backend_id, count in in_flight.items():
            backend = self._registry.backends.get(backend_id)
            if backend is not None:
                self._count(backend, count)

    def all_ended(self) -> None:
        """The program before is gone."""
        for backend in [*self._elsewhere]:
            self._count(backend, 0)

    def _count(self, backend: Backend, count: int) -> None:
        there, pool = self._elsewhere.setdefault(backend, []), self._registry.pools.get(backend.pool)
        while pool is not None and len(there) < count:
            there.append(Elsewhere())
            pool.occupy(backend, there[-1])
        while len(there) > count:
            last = there.pop()
            if pool is not None:
                pool.release(backend, last)
        if not there:
            del self._elsewhere[backend]

    def _follow(self, event: Event) -> None:
        backend = event.backend
        left = 0.0 if backend.drain is None else backend.drain.deadline - self._registry.now()
        match event.kind:
            case "ready" | "maintenance" | "removed":
                self._tell(Wished(backend=backend.id, wish=event.kind))
            case "draining":
                self._tell(Wished(backend=backend.id, wish="draining", left=max(0.0, left)))


def heed(wish: Wished, registry: Registry) -> None:
    """Do in the old program what an operator has asked the new one for."""
    backend = registry.backends.get(wish.backend)
    if backend is None:
        return
    match wish.wish:
        case "ready":
            registry.ready(backend)
        case "draining":
            registry.drain(backend, wish.left)
        case "maintenance":
            registry.maintenance(backend)
        case "removed":
            registry.remove(backend)
