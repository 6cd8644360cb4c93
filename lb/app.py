"""The nursery tree of one balancer, and the order in which it ends.

    serve ───┬─ signals        SIGTERM, SIGINT, SIGQUIT: stop; twice: at once. SIGHUP: reload
             └─ balancer ─┬─ proxy ─┬─ accepting     one task per listener; they end first
                          │         └─ connections   one task per client connection
                          │               └─ (upload)   only while a request body is sent during its response
                          ├─ readiness      watches all sockets; wakes their tasks, or runs the fast path
                          ├─ deadlines      cancels the wait of a connection at its deadline
                          ├─ names          resolves the names of backends
                          ├─ probes         one task for each backend with active checks
                          ├─ janitor        notices clients that left, closes idle connections that are old
                          ├─ time           ends drains and ejections at their deadline, lets weights grow
                          ├─ state          writes the state file when a drain has ended
                          ├─ pulse          measures how late the event loop is
                          ├─ access log     writes the lines of exchanges that have ended
                          ├─ audit file     writes the acts of operators
                          └─ services       demo backends and admin, as handed to `run`; they end last
                                └─ (ticking)   reads the counters once a second for /stats and /events

Stopping is a sequence: /readyz becomes 503, listeners close after the delay, idle client connections close,
busy ones send `Connection: close` and have the grace to finish, the rest is cut, idle backend connections
close, services end.
"""

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
from lb.core.allowed_addresses import AddressRule
from lb.core.registry import Event, PoolEvent, Registry
from lb.errors import ConfigError
from lb.net.descriptors import Spare
from lb.net.epoll import Readiness
from lb.net.listener import Listener, open_listeners
from lb.net.resolver import Names
from lb.observe.access_log import AccessLog
from lb.observe.audit_file import AuditFile
from lb.observe.counters import Metrics
from lb.observe.recorder import Recorder
from lb.probes.schedule import Probes
from lb.proxy.acceptor import Server
from lb.proxy.backend_side.connections import Connections
from lb.proxy.backend_side.first_look import FirstLook
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.context import Context
from lb.proxy.places import Places
from lb.proxy.running_exchanges import RunningExchanges
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import parse_address
from lb.suggestions import plural

PULSE_SECONDS = 0.5
SERVICES_END_SECONDS = 5.0
QUIET_SECONDS = 10.0
"""The pause between two log lines about custom policies that failed; failures in it are only counted."""
TROUBLE = frozenset(("down", "ejected", "panic", "policy failed"))
"""Events that are logged as warnings."""

log = structlog.get_logger()


class Service(Protocol):
    """A task of the balancer's nursery. It calls `task_status.started`, and ends when `stop` is set."""

    async def __call__(
        self, control: Control, stop: trio.Event, *, task_status: trio.TaskStatus[object]
    ) -> None: ...


class Balancer:
    """One balancer, built from its configuration and not yet running; `run` is its whole life."""

    def __init__(
        self, config: Config, access_log: AccessLog | None = None, source: Source | None = None
    ) -> None:
        self.registry = Registry(trio.current_time, random, CookieKeys().read, time.time)
        self.metrics = Metrics()
        self.cut = 0
        self._quiet_until = 0.0
        self._saving = trio.Lock()
        self._times_changed = trio.Event()
        self._ended_by_itself = trio.Event()
        self._access_log = access_log
        self._stop = trio.Event()
        self._fill_registry(config)
        rule = AddressRule(lambda: self.config, self._own_addresses)
        names = self._names = Names(self.registry, rule.objection)
        readiness = self._readiness = Readiness()
        self._probes = Probes(self.registry, names)
        recorder = Recorder()
        observers = [recorder.finished] if config.admin.enabled else []  # only the admin side reads it
        spare = Spare()
        self._connections = Connections(
            self.registry, names, readiness, config.timeouts, config.limits, spare
        )
        self._clients: set[ClientConnection] = set()
        self._context = Context(
            config, self.registry, self._connections, readiness, self.metrics, observers, self._clients, spare
        )
        if access_log is not None:
            access_log.attach(self._context)
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
            running=RunningExchanges(self._clients),
            on_drain=self._on_drain,
            look_up=names.look_up,
        )
        self._audit_file = AuditFile(config.admin.audit_file) if config.admin.audit_file else None
        if self._audit_file is not None:
            self.control.audit.also = self._audit_file.write
        if source is not None:
            self.control.reload = Reloader(source, self.control, self._context.configure, access_log)

    @property
    def config(self) -> Config:
        """The current Config; a reload replaces it."""
        return self.control.config

    def _own_addresses(self) -> list[str]:
        """Where no name may lead: the admin side. What leads back to a listener is a loop, which gets 508."""
        return [self.config.admin.listen] if self.config.admin.enabled else []

    def _fill_registry(self, config: Config) -> None:
        """Add the configured pools and backends, then apply the changes in the state file."""
        with self.registry.together():
            for name, pool in config.pools.items():
                try:
                    self.registry.add_pool(name, pool.settings)
                except ConfigError as exc:
                    raise ConfigError(f"{join('pools', name)}.{exc}") from exc
                except ValueError as exc:
                    raise ConfigError(f"{join('pools', name)}.policy: {exc}") from exc
                for spec in pool.backends:
                    self.registry.add(spec, name, source="config")
            if config.state:
                self._apply_state(config.state)
        self.registry.subscribe(self._on_event, self._on_pool_event)

    def reopen_logs(self) -> bool:
        """Open the log files again, which were perhaps moved away; False where there are none."""
        return self._access_log is not None and self._access_log.reopen()

    def _apply_state(self, path: str) -> None:
        """Apply the changes in the state file, once it is sure that others can be saved."""
        changes = state_file.load(path)
        if warning := state_file.try_out(path):
            log.warning("state file", path=path, note=warning)
        if count := state_file.sweep(path):
            log.info(
                "state file", path=path, note=f"{plural(count, 'temporary file')} of killed writers removed"
            )
        for sentence in state_file.apply(changes or {}, self.registry):
            log.warning("state file", overtaken=sentence)

    def _on_event(self, event: Event) -> None:
        self._times_changed.set()
        if event.kind in ("drained", "removed"):
            self._ended_by_itself.set()
        tell = log.warning if event.kind in TROUBLE else log.info
        tell(f"backend {event.kind}", backend=event.backend.id, pool=event.backend.pool, detail=event.detail)

    def _on_pool_event(self, event: PoolEvent) -> None:
        self._times_changed.set()
        if event.kind == "policy failed":
            if trio.current_time() < self._quiet_until:  # a policy may fail for every request
                return
            self._quiet_until = trio.current_time() + QUIET_SECONDS
        tell = log.warning if event.kind in TROUBLE else log.info
        tell(f"pool {event.kind}", pool=event.pool.name, detail=event.detail)

    def _on_drain(self, is_draining: bool) -> None:
        log.info("balancer draining" if is_draining else "balancer ready")
        self._context.draining = is_draining

    async def save(self) -> bool:
        """Write the runtime changes to the state file; False where none is configured.

        OSError where the file cannot be written. Calls are made one at a time.
        """
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

    async def stop_wished(self) -> None:
        """Wait for `stop`."""
        await self._stop.wait()

    async def run(
        self,
        before: Sequence[Service] = (),
        beside: Sequence[Service] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop` is called.

        Services in `before` start before the first request is accepted, those in `beside` right after.
        OSError that names the address where an address cannot be bound; no listener stays open then.
        """
        listeners = await self._open_listeners()
        self.control.listening[:] = [listener.name for listener in listeners]
        server = Server(
            self._context, listeners, Places(self._clients, self.metrics, self._context.most_clients)
        )
        try:
            async with trio.open_nursery() as background:
                for task in self._background(server):
                    background.start_soon(task)
                if self._access_log is not None:
                    background.start_soon(self._access_log.run)
                if self._audit_file is not None:
                    background.start_soon(self._audit_file.run)
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
        janitor = partial(server.look_after, self._connections)
        return self._readiness.run, self._names.run, self._probes.run, janitor, *keepers

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
        """Run the proxy within the services, which end after it so that an operator can watch the drain."""
        over = trio.Event()
        async with trio.open_nursery() as services:
            for service in before:
                await services.start(service, self.control, over)
            background.start_soon(FirstLook(self.registry, self._connections).run)
            async with trio.open_nursery() as proxy:
                await proxy.start(server.serve)
                for service in beside:
                    await services.start(service, self.control, over)
                task_status.started()
                if not self._stop.is_set():
                    await self._stop.wait()
                    await self._let_others_look()
                server.stop()
            over.set()
            services.cancel_scope.deadline = trio.current_time() + SERVICES_END_SECONDS

    async def _let_others_look(self) -> None:
        """Serve on until whoever looks at /readyz has seen that it is 503, for `timeouts.shutdown_delay`.

        Where the balancer drains already, the delay counts from the beginning of the drain.
        """
        drain, now = self.control.drain, trio.current_time()
        since = now if drain is None else drain.started
        if (due := since + self.config.timeouts.shutdown_delay) > now:
            self._context.draining = True
            await trio.sleep_until(due)

    async def _keep_time(self) -> None:
        """Call `Registry.expire` at each deadline: of drains, ejections and growing weights."""
        while True:
            self._times_changed = trio.Event()
            deadline = self.registry.expire(trio.current_time())
            with trio.move_on_at(inf if deadline is None else deadline):
                await self._times_changed.wait()

    async def _keep_state(self) -> None:
        """Write the state file when a drain has ended by itself; other changes are saved by their request."""
        while True:
            await self._ended_by_itself.wait()
            self._ended_by_itself = trio.Event()
            self.registry.forget_pools(self.config.pools)
            try:
                await self.save()
            except OSError as exc:
                log.error("state not saved", path=self.config.state, why=str(exc))

    async def _pulse(self) -> None:
        """Measure how late the event loop wakes a task. Growing delays are the first sign of overload."""
        while True:
            due = trio.current_time() + PULSE_SECONDS
            await trio.sleep_until(due)
            self.metrics.loop_lag(trio.current_time() - due)


def wall_clock() -> Callable[[float], float]:
    """A function from a time of Trio's clock to seconds since 1970. It follows steps of the wall clock."""
    return lambda moment: time.time() - (trio.current_time() - moment)


@asynccontextmanager
async def open_balancer(config: Config, source: Source | None = None) -> AsyncIterator[Balancer]:
    """Run a balancer for as long as the block lasts, in the caller's task tree, without admin and signals.

    `balancer.control.listening` has the bound addresses, `balancer.registry` the backends. Leaving the block
    stops the balancer gracefully. An exception or a cancellation inside the block stops it at once; the
    exception is raised unchanged. With a `source`, `balancer.control.reload()` reads the Config again.
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
