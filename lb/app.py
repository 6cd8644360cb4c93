"""The nursery tree of one balancer, and the order in which it ends.

    serve ───┬─ signals        SIGTERM, SIGINT, SIGQUIT: stop; twice: at once. SIGHUP: reload
             ├─ upgrader       at SIGUSR2 starts the program that replaces this one (`lb.upgrade`)
             └─ balancer ─┬─ proxy ─┬─ accepting     one task per listener; they end first
                          │         └─ connections   a task for each client connection that needs one
                          │               └─ (upload)   only while a request body is sent during its response
                          ├─ readiness      watches all sockets; wakes their tasks, or runs the fast path
                          ├─ deadlines      cancels the wait of a connection at its deadline
                          ├─ names          resolves the names of backends
                          ├─ sources        one task for each source of backends
                          ├─ cluster        follows the wishes in etcd, and tells how this balancer is
                          ├─ certificates   notices files that have changed; orders new ones for [tls.acme]
                          ├─ probes         a first look at all; one task for each with active checks
                          ├─ janitor        notices clients that left, closes idle connections that are old
                          ├─ time           ends drains and ejections at their deadline, lets weights grow
                          ├─ state          writes the state file when a drain has ended
                          ├─ program log    counts changes without a line; takes back a level set for a time
                          ├─ pulse          measures how late the event loop is
                          ├─ log files      write what exchanges have ended, and what operators did
                          └─ services       demo backends and admin, as handed to `run`; they end last
                                └─ (ticking)   reads the counters once a second, and looks for trouble

Stopping is a sequence: /readyz becomes 503, listeners close after the delay, idle client connections close,
busy ones send `Connection: close` and have the grace to finish, the rest is cut, idle backend connections
close, services end.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from lb.config.config_source import ConfigSource
from lb.config.inheritance import Inheritance
from lb.config.tls_check import listens_with_tls, serves_tls
from lb.control import Control
from lb.net.handed_listeners import HandedListeners
from lb.net.listener import Listener, open_listeners
from lb.observe.access_log import AccessLog
from lb.proxy.acceptor import Server
from lb.proxy.backend_side.first_look import FirstLook
from lb.proxy.context import LAST_CHANCE_SECONDS
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import parse_address
from lb.steering import Steering
from lb.traffic import Traffic

if TYPE_CHECKING:
    from lb.certificate_files.termination import Termination

SERVICES_END_SECONDS = 5.0
SOON_SECONDS = 1.0
"""How long the wishes of a cluster may take before the start is said to wait for them."""

log = structlog.get_logger()


class Service(Protocol):
    """A task of the balancer's nursery. It calls `task_status.started`, and ends when `stop` is set."""

    async def __call__(
        self, control: Control, stop: trio.Event, *, task_status: trio.TaskStatus[object]
    ) -> None: ...


class AnyBalancer(ABC):
    """A balancer of one process or of several, as a program runs it and replaces it.

    What is true of the backends is the same (`lb.steering`); what carries the traffic is not. `listeners` are
    by the address in the configuration; `cut` says, once `run` has returned, how many exchanges were cut.
    """

    def __init__(self, config: Config, inheritance: Inheritance | None) -> None:
        self._steering = steering = Steering(config, inheritance)
        self.registry, self.metrics, self.control = steering.registry, steering.metrics, steering.control
        self.names, self.cookie_keys = steering.names, steering.cookie_keys
        self.listeners: dict[str, list[Listener]] = {}
        self.cut = 0

    @property
    def config(self) -> Config:
        """The current Config; a reload replaces it."""
        return self.control.config

    def stop(self) -> None:
        """Begin the graceful end; `run` returns when it is done."""
        self._steering.stop()

    @property
    def is_waiting(self) -> bool:
        """Whether it cannot serve yet, since it does not know the wishes of its cluster."""
        return self._steering.waits_for_wishes

    async def stop_wished(self) -> None:
        """Wait for `stop`."""
        await self._steering.stop_wished.wait()

    @abstractmethod
    def reopen_logs(self) -> bool:
        """Open the log files again, which were perhaps moved away; False where there are none."""

    async def save(self) -> bool:
        """Write the runtime changes to the state file; False where there is none to write."""
        return await self._steering.save()

    async def stop_saving(self) -> None:
        """No operator changes anything any more, nor is the state file written, once this returns."""
        await self._steering.stop_saving()

    def hand_over(self, addresses: Collection[str]) -> None:
        """Begin the graceful end of a program that is replaced: another one serves at these addresses.

        Connections that are idle end with their next request, or when the grace is over.
        """
        for address in addresses:
            for listener in self.listeners[address]:
                listener.is_handed_over = True
        self._give_last_chance(self.config.timeouts.grace)
        self._steering.hand_over()

    def hurry(self) -> None:
        """End idle connections of a program that is replaced as any stop does."""
        self._give_last_chance(LAST_CHANCE_SECONDS)

    @abstractmethod
    def _give_last_chance(self, seconds: float) -> None:
        """Once this stops, or now if it does, idle connections may send a request for so long."""

    async def prepare(self) -> None:
        """Do what `run` would take long to do, for a service that begins before the first request."""
        await trio.lowlevel.checkpoint()

    async def _listen(self) -> None:
        """Open the listeners. While it `is_waiting` they refuse clients, until `_let_in`."""
        self.listeners = await listening(self.config, self._steering.handed, refusing=self.is_waiting)
        listeners = self._all_listeners()
        self.control.listening[:] = [listener.name for listener in listeners]
        self.control.tls_listening[:] = [listener.name for listener in listeners if listener.is_tls]

    def _all_listeners(self) -> list[Listener]:
        return [each for opened in self.listeners.values() for each in opened]

    async def _let_in(
        self, nursery: trio.Nursery, beside: Sequence[Service], over: trio.Event
    ) -> Sequence[Service]:
        """Wait until the wishes are known, and refuse clients no more. After a stop it `is_waiting` still.

        Where that takes long the services in `beside` start meanwhile, so that operators can see why. Returns
        those that are left to be started.
        """
        with trio.move_on_after(SOON_SECONDS):
            await self._steering.wishes_known()
        if self.is_waiting and not self._steering.stop_wished.is_set():
            self._say_what_is_awaited()
            await start_services(nursery, beside, self.control, over)
            beside = ()
            await self._steering.wishes_known()
        if not self.is_waiting:
            for listener in self._all_listeners():
                listener.listen()
        return beside

    def _say_what_is_awaited(self) -> None:
        cluster = self.config.cluster
        etcd = () if cluster is None else cluster.etcd
        log.info("no clients are accepted yet", why=self.control.cluster.why_not_ready(), etcd=etcd)

    @abstractmethod
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


class Balancer(AnyBalancer):
    """One balancer in one process, built from its configuration, not yet running; `run` is all its life."""

    def __init__(
        self,
        config: Config,
        access_log: AccessLog | None = None,
        source: ConfigSource | None = None,
        inheritance: Inheritance | None = None,
    ) -> None:
        super().__init__(config, inheritance)
        # Only the admin side reads it.
        observers = [self._steering.recorder.finished] if config.admin.enabled else []
        termination = _termination(config)
        of_clients = termination if listens_with_tls(config) else None
        self.traffic = Traffic(
            config, self.registry, self.names, self.metrics, observers, access_log, of_clients
        )
        self.control.running = self.traffic.running
        self._steering.steer(self.traffic, source, access_log, termination)

    def reopen_logs(self) -> bool:
        return self.traffic.access_log is not None and self.traffic.access_log.reopen()

    def _give_last_chance(self, seconds: float) -> None:
        self.traffic.give_last_chance(seconds)

    async def run(
        self,
        before: Sequence[Service] = (),
        beside: Sequence[Service] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await self._listen()
        listeners = self._all_listeners()
        server = self.traffic.server(listeners)
        try:
            async with trio.open_nursery() as background:
                for task in (*self.traffic.tasks(server), *self._steering.tasks()):
                    background.start_soon(task)
                await self._serve(server, before, beside, background, task_status)
                background.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.close()
            self.traffic.close()
        self.cut = server.cut

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
        await self._steering.first_found()  # before a program that is replaced is told that this one is ready
        async with trio.open_nursery() as services:
            await start_services(services, before, self.control, over)
            beside = await self._let_in(services, beside, over)
            if self.is_waiting:
                task_status.started()
            else:
                background.start_soon(FirstLook(self.registry, self.traffic.connections).run)
                await self._serve_clients(server, services, beside, over, task_status)
            over.set()
            services.cancel_scope.deadline = trio.current_time() + SERVICES_END_SECONDS

    async def _serve_clients(
        self,
        server: Server,
        services: trio.Nursery,
        beside: Sequence[Service],
        over: trio.Event,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as proxy:
            await proxy.start(server.serve)
            await start_services(services, beside, self.control, over)
            task_status.started()
            if not self._steering.stop_wished.is_set():
                await self._steering.stop_wished.wait()
                self.traffic.drain(True)
                await self._steering.let_others_look()
            server.stop()


async def start_services(
    nursery: trio.Nursery, services: Sequence[Service], control: Control, stop: trio.Event
) -> None:
    """Start one after the other, in this nursery."""
    for service in services:
        await nursery.start(service, control, stop)


def _termination(config: Config) -> "Termination | None":
    """What listeners with TLS need, the operator's too; it is imported where there are any."""
    if not serves_tls(config):
        return None
    from lb.tls.requirement import check_installed

    check_installed("listen" if listens_with_tls(config) else "admin.listen")
    from lb.certificate_files.termination import Termination

    return Termination(config)


async def listening(
    config: Config, handed: HandedListeners, *, refusing: bool = False
) -> dict[str, list[Listener]]:
    """The listeners of this configuration by its addresses; the same sockets where they were `handed` over.

    `refusing`: as for `open_listeners`. The caller owns them. After an OSError, which names the address, none
    is open.
    """
    opened: dict[str, list[Listener]] = {}
    try:
        for address in config.listen:
            where = parse_address(address)
            listeners = handed.take(address) or await open_listeners(where, refusing=refusing)
            for listener in listeners:
                listener.is_tls, listener.takes_proxy_header = where.is_tls, where.takes_proxy_header
            opened.setdefault(address, []).extend(listeners)  # port 0 may stand there twice
    except BaseException:
        for listeners in opened.values():
            for listener in listeners:
                listener.close()
        raise
    return opened


@asynccontextmanager
async def open_balancer(config: Config, source: ConfigSource | None = None) -> AsyncIterator[Balancer]:
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
