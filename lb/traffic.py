"""What carries the traffic of one process: client connections, exchanges, connections to backends.

It takes places in the registry, and tells it what attempts show; what follows for the backends is decided in
`lb.core`. The truth about them is beside it in the same process (`lb.app`), or in another one (`lb.workers`).
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from lb.config.decode import join
from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Registry
from lb.core.routes import Routes
from lb.errors import ConfigError
from lb.net.descriptors import Spare
from lb.net.epoll import Readiness
from lb.net.listener import Listener
from lb.net.resolver import Names
from lb.observe.access_log import AccessLog
from lb.observe.counters import Metrics
from lb.observe.decision_log import DecisionLog
from lb.proxy.acceptor import Evenness, Server
from lb.proxy.backend_side.connections import Connections
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.context import Context
from lb.proxy.front_rules import FrontRules
from lb.proxy.places import Places
from lb.proxy.running_exchanges import RunningExchanges
from lb.settings.backend_spec import is_tls
from lb.settings.balancer_settings import Config, LogLevel

if TYPE_CHECKING:
    from lb.acme.challenges import Challenges
    from lb.certificate_files.handshaking import Handshaking
    from lb.proxy.client_side.opening import Openings
    from lb.tls.client_hello import ClientHello
    from lb.tls.table import Served

PULSE_SECONDS = 0.5


class Traffic:
    """The data plane of one process. `close` it at the end; `server` makes what accepts, `tasks` runs beside.

    `running` lists and ends the exchanges that run. `termination` is what listeners with TLS need.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        names: Names,
        metrics: Metrics,
        observers: Iterable[Callable[[ExchangeRecord], None]] = (),
        access_log: AccessLog | None = None,
        termination: "Handshaking | None" = None,
    ) -> None:
        self.metrics = metrics
        self.access_log = access_log
        self.termination = termination
        self._challenges: Challenges | None = None
        self._decisions = DecisionLog()
        self.readiness = Readiness()
        spare = Spare()
        self.connections = Connections(registry, names, self.readiness, config.timeouts, config.limits, spare)
        self._clients: set[ClientConnection] = set()
        self.running = RunningExchanges(self._clients)
        self._prepare_backend_tls(config)
        self.context = Context(
            config, registry, self.connections, self.readiness, metrics, observers, self._clients, spare
        )
        self.log_at(config.log_level)
        self._configure_challenges(config)
        if access_log is not None:
            access_log.attach(self.context)

    def _prepare_backend_tls(self, config: Config) -> None:
        """Read the files of TLS with backends. ConfigError, which names the key, where one cannot be used."""
        for name, pool in config.pools.items():
            if any(is_tls(backend.url) for backend in pool.backends):
                try:
                    self.connections.backend_tls().contexts.prepare(pool.settings.tls)
                except ConfigError as exc:
                    raise ConfigError(f"{join('pools', name)}.tls.{exc}") from exc

    def configure(self, config: Config, routes: Routes | None = None) -> None:
        """Use these settings from the next request on (`lb.proxy.context`)."""
        self.context.configure(config, routes)
        self._configure_challenges(config)

    def _configure_challenges(self, config: Config) -> None:
        """It is imported where certificates are ordered."""
        if self._challenges is not None:
            self._challenges.configure(config.tls)
        elif config.tls.acme is not None and self.termination is not None:
            from lb.acme.challenges import Challenges

            self._challenges = Challenges(config.tls, lambda host: self.context.routes.has(host))

    def log_at(self, level: LogLevel) -> None:
        """Write what is decided about exchanges if the level is debug; otherwise nothing is told of them."""
        told = self._decisions.finished
        others = tuple(each for each in self.context.observers if each != told)
        self.context.observers = (*others, told) if level == "debug" else others

    def drain(self, is_draining: bool) -> None:
        """The whole balancer drains: responses say `Connection: close`, and requests are still served."""
        self.context.draining = is_draining

    def server(self, listeners: Sequence[Listener], evenness: Evenness | None = None) -> Server:
        """What accepts at these listeners, which it closes; not yet running.

        `evenness`: others accept from the same sockets.
        """
        places = Places(self._clients, self.metrics, self.context.most_clients)
        server = Server(self.context, listeners, places, evenness)
        openings = None
        if self.termination is not None:
            server.front = openings = self._openings(self.termination, server)
            port = next(listener.port for listener in listeners if listener.is_tls)
            self.context.front_rules = FrontRules(self.termination, port, self._http_answer)
        if any(listener.takes_proxy_header for listener in listeners):
            from lb.proxy.client_side.proxy_opening import ProxyOpenings

            server.front = ProxyOpenings(self.context, server, openings)
        return server

    def _http_answer(self, host: str, token: str) -> bytes | None:
        return None if self._challenges is None else self._challenges.http_answer(host, token)

    def _choose(self, hello: "ClientHello", address: str) -> "Served | None":
        """What a client gets that says this, which may be a certificate authority; None: it is refused."""
        assert self.termination is not None
        if self._challenges is not None and self._challenges.is_challenge(hello):
            return self._challenges.served(hello)
        return self.termination.choose(hello, address)

    def _why_none(self, hello: "ClientHello") -> str | None:
        return None if self._challenges is None else self._challenges.why_none(hello)

    def _openings(self, termination: "Handshaking", server: Server) -> "Openings":
        from lb.proxy.client_side.opening import Openings

        context = self.context
        return Openings(
            self._choose,
            server,
            termination.handshakes,
            self.readiness,
            context.deadlines,
            lambda: context.timeouts.handshake,
            lambda: context.limits.handshakes,
            self._why_none,
        )

    def tasks(self, server: Server) -> Sequence[Callable[[], Awaitable[object]]]:
        """The tasks beside `server.serve`, which run until they are cancelled; the access log ends last."""
        janitor = partial(server.look_after, self.connections)
        logs = () if self.access_log is None else (self.access_log.run,)
        return (
            self.readiness.run,
            janitor,
            self.context.deadlines.run,
            self._pulse,
            self.connections.watch_files,
            *logs,
        )

    async def _pulse(self) -> None:
        """Measure how late the event loop wakes a task. Growing delays are the first sign of overload."""
        while True:
            due = trio.current_time() + PULSE_SECONDS
            await trio.sleep_until(due)
            self.metrics.loop_lag(trio.current_time() - due)

    def give_last_chance(self, seconds: float) -> None:
        """Idle connections may still send a request for so long once this process stops, or has stopped."""
        self.context.last_chance = seconds
        if self.context.closing:
            for client in self._clients:
                client.close_soon()

    def close(self) -> None:
        """Close the idle connections to backends, and the pipes."""
        self.connections.close()
        self.context.pipes.close()
