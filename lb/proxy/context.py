"""What all client connections share: settings, pools, connections to backends, clocks and observers."""

import time
from collections.abc import Callable, Collection, Iterable
from email.utils import formatdate
from functools import lru_cache
from itertools import count
from random import random
from secrets import token_hex
from typing import Protocol

import trio

from lb.core.client_address import UNIX, Trust
from lb.core.exchange_record import Announced, ExchangeRecord
from lb.core.registry import Registry
from lb.core.routes import Routes
from lb.core.secured import Secured
from lb.errors import LBError
from lb.http1.error_answer import error_answer, known_as
from lb.http1.forwarded_fields import ForwardedFields
from lb.net.descriptors import Spare
from lb.net.epoll import Readiness
from lb.net.splice import Pipes
from lb.net.timers import Deadlines
from lb.observe.counters import Metrics
from lb.proxy.front_rules import FrontRules
from lb.proxy.sides import BackendConnections
from lb.settings.balancer_settings import DEFAULT_NAME, Config, connection_limit

IDENTITIES = 1024
"""Client addresses whose `ForwardedFields` are cached."""
TAG = slice(12, 24)
"""Where in an id of `Ids` the tag of its process stands."""

LAST_CHANCE_SECONDS = 1.0
"""`Context.last_chance`, unless another program accepts in place of this one."""


class Ids:
    """Request ids: 32 hexadecimal digits that sort by time. A random tag and a counter make them unique."""

    __slots__ = ("_count", "tag")

    def __init__(self) -> None:
        self.tag = token_hex(6).encode()
        self._count = count()

    def new(self) -> bytes:
        """Milliseconds since the epoch, the tag of this process, and a count."""
        millis = int(time.time() * 1000)
        return b"%012x%b%08x" % (millis, self.tag, next(self._count) & 0xFFFFFFFF)


class HttpDate:
    """The value of the Date field (RFC 9110 section 6.6.1), formatted once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def now(self) -> bytes:
        """The current time as an HTTP-date."""
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True).encode()
        return self._text


class Connected(Protocol):
    """A client connection, as a change of the configuration sees it."""

    def ask_identity(self) -> None:
        """Ask `Context.identity` again what backends are told about this client, from its next request on."""
        ...


class Context:
    """The shared state of the data plane, made once, inside `trio.run`. It outlives every connection.

    `closing`: the balancer shuts down, so no connection is kept. Only the acceptor sets it.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        connections: BackendConnections,
        readiness: Readiness,
        metrics: Metrics,
        observers: Iterable[Callable[[ExchangeRecord], None]],
        clients: Collection[Connected],
        spare: Spare | None = None,
    ) -> None:
        self.pools = registry.pools
        self.connections = connections
        self.readiness = readiness
        self.metrics = metrics
        self.observers: tuple[Callable[[ExchangeRecord], None], ...] = (metrics.finished, *observers)
        self.clients = clients
        self.noted_fields: tuple[bytes, ...] | None = None
        """The fields that the record of each exchange has for the access log, in lower case."""
        self.closing = False
        self.last_chance = LAST_CHANCE_SECONDS
        """How long an idle connection may still send a request once the balancer shuts down."""
        self.draining = False
        """An operator drains this balancer: responses say `Connection: close`; requests are still served."""
        self.now = trio.lowlevel.current_clock().current_time
        """Trio's clock, looked up once: `trio.current_time` looks it up on every call."""
        self.front_rules: FrontRules | None = None
        """What hosts ask of connections; None where no listener speaks TLS."""
        self.pipes = Pipes()
        self.held = metrics.held
        self.spare = Spare() if spare is None else spare
        self.spare.add(self.pipes.give_up)
        self.deadlines = Deadlines()
        self.ids = Ids()
        self.date = HttpDate()
        self.chance = random
        self._tag = token_hex(4).encode()
        self.configure(config)

    def configure(self, config: Config, routes: Routes | None = None) -> None:
        """Use this configuration from now on. A plain call, so no request sees a mixture.

        `routes` are those of the configuration, where they have been made already; thousands take a while.

        A wait that has begun keeps its deadline and a request its pool. Open connections stay even where a
        new limit is lower than their number.
        """
        self.timeouts = config.timeouts
        self.limits = config.limits
        self.half_close = config.half_close
        self.routes = routes or Routes(config.routes, path_policy=config.path_policy)
        self.connections.timeouts, self.connections.limits = config.timeouts, config.limits
        self.held.most = config.limits.held
        self.most_clients = connection_limit(config.limits)
        self.trust = Trust(config.trusted_proxies)
        self.header_senders = Trust(config.proxy_protocol_from)
        self.hsts = b"Strict-Transport-Security: max-age=%d\r\n" % config.tls.hsts if config.tls.hsts else b""
        """What responses say over TLS: RFC 6797."""
        self._sends_forwarded = config.forwarded
        self._tells_all = config.error_details
        self.tells_id = config.request_id_in_responses
        self._by = known_as(config.via or DEFAULT_NAME)
        self._sends_via = bool(config.via)
        # The tag in the comment tells this balancer from others in the chain that have the same name.
        self.via = b"%b (%b)" % ((config.via or DEFAULT_NAME).encode(), self._tag)
        self._identity = lru_cache(IDENTITIES)(self._make_identity)
        for client in self.clients:  # a change of trust also concerns open connections
            client.ask_identity()

    def error_answer(self, error: LBError, exchange: ExchangeRecord, *, closing: bool) -> bytes:
        """The bytes of an error response. `closing` adds `Connection: close`."""
        date, tells_all = self.date.now(), self._tells_all
        return error_answer(error, exchange, date, closing, by=self._by, tells_all=tells_all)

    def identity(
        self, address: str, secured: Secured | None = None, announced: Announced | None = None
    ) -> ForwardedFields:
        """What backends are told about the client at this address (without a port), and of its handshake.

        A Unix socket of which a PROXY header tells is on another machine, so it is trusted in no case.
        """
        certificate = None if secured is None else secured.told_certificate
        is_strange = announced is not None and address == UNIX
        if certificate is None and not is_strange:
            return self._identity(address, secured is not None)
        return self._make_identity(address, secured is not None, certificate, is_strange)

    def _make_identity(
        self, peer: str, is_secured: bool, certificate: bytes | None = None, is_strange: bool = False
    ) -> ForwardedFields:
        via = self.via if self._sends_via else b""
        return ForwardedFields(
            peer.encode(),
            peer in self.trust and not is_strange,
            via,
            self._sends_forwarded,
            scheme=b"https" if is_secured else b"http",
            certificate=certificate,
        )

    def finished(self, exchange: ExchangeRecord) -> None:
        """Tell all observers how an exchange went. To be called once for each exchange."""
        for tell in self.observers:
            tell(exchange)
