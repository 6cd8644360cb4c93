"""The nursery tree of one balancer, and the order in which it ends.

    serve ───┬─ signals        SIGTERM, SIGINT: stop; a second one: end at once. SIGHUP: reload
             └─ balancer ─┬─ proxy ─┬─ accepting     one per listener; ends first
                          │         └─ connections   one task per client connection
                          │               └─ (upload)   only while a request body travels beside its answer
                          ├─ readiness      watches all sockets; wakes who waits, or serves what is plain
                          ├─ deadlines      ends a connection's wait at its instant
                          ├─ names          resolves the names of backends
                          ├─ probes         one task for each backend with active checks
                          ├─ janitor        closes what clients and time have left behind
                          ├─ time           ends drains and ejections at their deadline, lets weights grow
                          ├─ state          saves what a drain ended in
                          ├─ pulse          how late the event loop is
                          ├─ access log     writes what exchanges have left in its buffer
                          └─ services       demo backends, admin: what was handed in; they end last
                                └─ (ticking)   reads the counters once a second for /stats and /events

Stopping is a sequence: readiness is lost, listeners close, idle client connections end, live ones say
`Connection: close` and get the grace, what is left is cut, idle backend connections close, services end.
"""

import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from random import random
from typing import Protocol

import structlog
import trio

from lb.config import state_file
from lb.config.cookie_keys import CookieKeys
from lb.config.decode import join
from lb.config.reload import Reloader
from lb.config.source import Source
from lb.control import Control
from lb.core.backend import Backend
from lb.core.registry import Event, PoolEvent, Registry
from lb.errors import ConfigError, LBError
from lb.net.epoll import Readiness
from lb.net.listener import Listener, open_listeners
from lb.net.resolver import Names
from lb.observe.access_log import AccessLog
from lb.observe.audit_trail import Act
from lb.observe.counters import Metrics
from lb.observe.recorder import Recorder
from lb.probes.schedule import Probes
from lb.proxy.acceptor import Server
from lb.proxy.backend.connections import Connections
from lb.proxy.context import Context
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import parse_address

PULSE_SECONDS = 0.5
SERVICES_END_SECONDS = 5.0
STDERR = 2
QUIET_SECONDS = 10.0
"""After a line about a policy of somebody's own that failed; what follows is only counted."""
TROUBLE = frozenset(("down", "ejected", "panic", "policy failed"))
"""Events that are logged as warnings."""

log = structlog.get_logger()


class Service(Protocol):
    """Something that lives in the balancer's nursery: it reports that it has started, and ends on `stop`."""

    async def __call__(
        self, control: Control, stop: trio.Event, *, task_status: trio.TaskStatus[object]
    ) -> None: ...


class Balancer:
    """One balancer, built from its configuration and not yet running; `run` is its whole life."""

    def __init__(
        self, config: Config, access_log: AccessLog | None = None, source: Source | None = None
    ) -> None:
        self.registry = Registry(trio.current_time, random, CookieKeys().read)
        self.metrics = Metrics()
        self.cut = 0
        self._quiet_until = 0.0
        self._saving = trio.Lock()
        self._times_changed = trio.Event()
        self._ended_by_itself = trio.Event()
        self._access_log = access_log
        self._stop = trio.Event()
        self._fill_registry(config)
        names = self._names = Names(self.registry)
        readiness = self._readiness = Readiness()
        self._probes = Probes(self.registry, names)
        observers = [] if access_log is None else [access_log.finished]
        recorder = Recorder()
        if config.admin.enabled:  # else nobody can look
            observers.append(recorder.finished)
        self._connections = Connections(self.registry, names, readiness, config.timeouts, config.limits)
        self._context = Context(config, self.registry, self._connections, readiness, self.metrics, observers)
        self.control = Control(
            config=config,
            registry=self.registry,
            metrics=self.metrics,
            recorder=recorder,
            save=self.save,
            check=self._probes.check,
            wall=wall_clock(),
            started=trio.current_time(),
            stop=self.stop,
            on_drain=self._on_drain,
        )
        if source is not None:
            self.control.reload = Reloader(source, self.control, self._context.configure)

    @property
    def config(self) -> Config:
        """What we go by now; a reload puts another one in its place."""
        return self.control.config

    def _fill_registry(self, config: Config) -> None:
        """The configured pools and backends, then what operators had changed at runtime."""
        with self.registry.together():
            for name, pool in config.pools.items():
                try:
                    self.registry.add_pool(name, pool.settings)
                except ValueError as exc:
                    raise ConfigError(f"{join('pools', name)}.policy: {exc}") from exc
                for spec in pool.backends:
                    self.registry.add(spec, name, source="config")
            if config.state and (changes := state_file.load(config.state)) is not None:
                for sentence in state_file.apply(changes, self.registry):
                    log.warning("state file", overtaken=sentence)
        self.registry.subscribe(self._on_event, self._on_pool_event)

    def _on_event(self, event: Event) -> None:
        self._times_changed.set()
        if event.kind in ("drained", "removed"):
            self._ended_by_itself.set()
        tell = log.warning if event.kind in TROUBLE else log.info
        tell(f"backend {event.kind}", backend=event.backend.id, pool=event.backend.pool, detail=event.detail)

    def _on_pool_event(self, event: PoolEvent) -> None:
        self._times_changed.set()
        if event.kind == "policy failed":
            if trio.current_time() < self._quiet_until:  # it may fail for each request
                return
            self._quiet_until = trio.current_time() + QUIET_SECONDS
        tell = log.warning if event.kind in TROUBLE else log.info
        tell(f"pool {event.kind}", pool=event.pool.name, detail=event.detail)

    def _on_drain(self, is_draining: bool) -> None:
        log.info("balancer draining" if is_draining else "balancer ready")
        self._context.draining = is_draining

    async def save(self) -> bool:
        """Write what operators changed to the state file; False where none is configured."""
        path = self.config.state
        if not path:
            return False
        async with self._saving:
            changes = state_file.changes(self.config.pools, self.registry)
            await trio.to_thread.run_sync(state_file.save, path, changes)
        return True

    def stop(self) -> None:
        """Begin the graceful end; `run` returns when it is done."""
        self.control.stopping = True
        self._stop.set()

    async def run(
        self,
        before: Sequence[Service] = (),
        beside: Sequence[Service] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop`. Services in `before` are up when the first request is taken.

        Raises OSError, naming the address, where one cannot be listened on; nothing stays open then.
        """
        listeners = await self._open_listeners()
        self.control.listening[:] = [listener.name for listener in listeners]
        server = Server(self._context, listeners)
        try:
            async with trio.open_nursery() as background:
                for task in self._background(server):
                    background.start_soon(task)
                if self._access_log is not None:
                    background.start_soon(self._access_log.run)
                await self._serve(server, before, beside, background, task_status)
                background.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.close()
            self._connections.close()
            self._context.pipes.close()
        self.cut = server.cut

    def _background(self, server: Server) -> Sequence[Callable[[], Awaitable[object]]]:
        keepers = (self._context.deadlines.run, self._keep_time, self._keep_state, self._pulse)
        return self._readiness.run, self._names.run, self._probes.run, server.look_after, *keepers

    async def _open_listeners(self) -> list[Listener]:
        listeners: list[Listener] = []
        try:
            for address in self.config.listen:
                listeners += await open_listeners(parse_address(address))
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
        return listeners

    async def _serve(
        self,
        server: Server,
        before: Sequence[Service],
        beside: Sequence[Service],
        background: trio.Nursery,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """The proxy, and around it the services, which outlive it so that people can watch a drain."""
        over = trio.Event()
        async with trio.open_nursery() as services:
            for service in before:
                await services.start(service, self.control, over)
            background.start_soon(self._look_who_is_there)
            async with trio.open_nursery() as proxy:
                await proxy.start(server.serve)
                for service in beside:
                    await services.start(service, self.control, over)
                task_status.started()
                await self._stop.wait()
                server.stop()
            over.set()
            services.cancel_scope.deadline = trio.current_time() + SERVICES_END_SECONDS

    async def _keep_time(self) -> None:
        """Do what is due in the registry when its time has come."""
        while True:
            self._times_changed = trio.Event()
            deadline = self.registry.expire(trio.current_time())
            with trio.move_on_at(inf if deadline is None else deadline):
                await self._times_changed.wait()

    async def _keep_state(self) -> None:
        """Save what changed without a request that would: a drain that ended, and what it ended in."""
        while True:
            await self._ended_by_itself.wait()
            self._ended_by_itself = trio.Event()
            self.registry.forget_pools(self.config.pools)
            try:
                await self.save()
            except OSError as exc:
                log.error("state not saved", path=self.config.state, why=str(exc))

    async def _look_who_is_there(self) -> None:
        """Connect once to each configured backend, so that a wrong address shows at once and not at night."""
        missing: list[str] = []

        async def look(backend: Backend) -> None:
            try:
                self._connections.give(backend, await self._connections.open(backend), keep=False)
            except LBError as exc:
                missing.append(backend.id)
                log.warning("backend not reachable", backend=backend.id, why=str(exc))

        async with trio.open_nursery() as nursery:
            for backend in list(self.registry.backends.values()):
                nursery.start_soon(look, backend)
        if missing and len(missing) == len(self.registry.backends):
            log.warning("no backend is reachable; requests get 502 until one is")

    async def _pulse(self) -> None:
        """Measure how late the event loop is: the one early warning that only a Python program needs."""
        while True:
            due = trio.current_time() + PULSE_SECONDS
            await trio.sleep_until(due)
            self.metrics.loop_lag(trio.current_time() - due)


def wall_clock() -> Callable[[float], float]:
    """Turns a time of Trio's clock into seconds since 1970, as of now: it follows the wall clock's steps."""
    return lambda moment: time.time() - (trio.current_time() - moment)


@asynccontextmanager
async def open_balancer(config: Config, source: Source | None = None) -> AsyncIterator[Balancer]:
    """A running balancer for as long as the block lasts, in the caller's task tree: no admin, no signals.

    `balancer.control.listening` has the addresses, `balancer.registry` the backends. Leaving the block stops
    it gracefully; an error or a cancellation inside ends it at once, and the error comes out as it was.
    With a `source`, `balancer.control.reload()` reads it again.
    """
    balancer = Balancer(config, source=source)
    error: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(balancer.run)
        try:
            yield balancer
        except Exception as exc:
            error = exc
            nursery.cancel_scope.cancel()
        balancer.stop()
    if error is not None:
        raise error


async def serve(
    balancer: Balancer,
    before: Sequence[Service] = (),
    beside: Sequence[Service] = (),
    announce: Callable[[Control], None] = lambda _control: None,
) -> int:
    """Run a balancer as a program: until a signal, gracefully. The exit code.

    0: every request that was accepted has ended by itself. 1: some were cut when the grace was over.
    128 + n: a second signal, number n, asked to end at once. SIGHUP reads the configuration again, unless it
    says that our terminal was closed.
    """
    killed_by = 0
    had_terminal = os.isatty(STDERR)

    async def heed(signals: AsyncIterator[int], *, task_status: trio.TaskStatus[None]) -> None:
        nonlocal killed_by
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP and os.isatty(STDERR) is had_terminal:
                nursery.start_soon(reload_on_signal, balancer.control)
            elif balancer.control.stopping:
                log.info("stopping at once", signal=name)
                killed_by = number
                nursery.cancel_scope.cancel()
            else:
                log.info("stopping", signal=name, grace=balancer.config.timeouts.grace)
                balancer.stop()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(heed, signals)
            async with trio.open_nursery() as inner:
                await inner.start(partial(balancer.run, before, beside))
                announce(balancer.control)
            nursery.cancel_scope.cancel()
    if killed_by:
        return 128 + killed_by
    log.info("stopped", cut=balancer.cut)
    return 1 if balancer.cut else 0


async def reload_on_signal(control: Control) -> None:
    """Reload, write an audit entry and save the state file. Errors are logged, not raised."""
    if control.stopping:
        return
    if control.reload is None:
        log.warning("nothing to reload: this balancer was not started from a file")
        return
    act = Act(who="signal", source="SIGHUP", operation="reload")
    try:
        with control.audit.act(act):
            await control.reload()
        control.audit.note(act)
        await control.save()
    except ConfigError as exc:
        control.audit.note(act, why=str(exc))
    except OSError as exc:
        log.error("state not saved", path=control.config.state, why=str(exc))
    except Exception:
        log.exception("bug in a reload")
