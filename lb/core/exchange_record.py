"""The record of one exchange: what was decided, why, and how it went.

It holds references and plain numbers only, never a body, nor a field that the access log does not have;
metrics, log and API render it. Times are on the caller's monotonic clock, in seconds; None where a phase was
not reached.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lb.core.backend import Backend
from lb.core.passed_over import NONE_PASSED_OVER, PassedOver
from lb.core.secured import Secured
from lb.errors import Reason

CLIENTS_DOING = frozenset({Reason.CLIENT_DISCONNECTED, Reason.HTTP_REQUEST_ERROR})
"""Reasons at the fault of a client."""
LONGEST_NOTED = 513
"""Bytes of a field that are kept: one more than the log shows, so that it still sees that there were more."""


class AttemptRecord:
    """One try of one exchange on one backend; `passed_over` are the other backends, and why.

    `sent`: when the request had been sent whole. `is_beaten`: another attempt, made beside it, was quicker,
    so its response was not waited for.
    """

    __slots__ = (
        "backend",
        "connected",
        "ended",
        "first_byte",
        "is_beaten",
        "passed_over",
        "reason",
        "reused",
        "sent",
        "started",
    )

    def __init__(self, backend: Backend, passed_over: PassedOver, started: float) -> None:
        self.backend = backend
        self.passed_over = passed_over
        self.started = started
        self.reused = False
        self.is_beaten = False
        self.connected: float | None = None
        self.sent: float | None = None
        self.first_byte: float | None = None
        self.ended: float | None = None
        self.reason: Reason | None = None

    @property
    def has_failed(self) -> bool:
        """Whether it failed on its backend: neither beaten, nor ended by its client's doing."""
        return self.reason is not None and not self.is_beaten and self.reason not in CLIENTS_DOING


class Noted:
    """What of a request's head the access log needs: its version, and fields by name in lower case."""

    __slots__ = ("fields", "version")

    def __init__(self, version: str, fields: Mapping[bytes, bytes]) -> None:
        self.version = version
        self.fields = fields


class Announced(NamedTuple):
    """What a PROXY header said of a client connection beside its source, which is the record's `peer`.

    `by` is who sent the header, with the port: the balancer in front. `destination` is the address and port
    that the client had connected to there. `tlvs` are types and values (`lb.core.proxy_tlvs`).
    """

    by: str
    destination: tuple[str, int]
    tlvs: tuple[tuple[int, bytes], ...]


class ExchangeRecord:
    """One request and its response, as they are remembered.

    `peer` is who held the other end of the connection, with the port, or for whom a balancer in front did:
    then `announced` is what its PROXY header said beside. So is `client`, unless the peer is a trusted proxy
    that has named another address (`lb.core.client_address`).
    `leader` is the attempt that decides how the exchange ends, where two are in a race: the one ahead.
    `passed_over` are all backends of the pool where none could take the request; empty where one could.
    `secured` is what the handshake of its connection has agreed on; None without TLS. `is_stream`: its answer
    is an event stream, which lasts as long as it is wanted.
    """

    __slots__ = (
        "announced",
        "attempts",
        "client",
        "client_took",
        "detail",
        "ended",
        "gathered",
        "held",
        "id",
        "is_stream",
        "leader",
        "listener",
        "method",
        "noted",
        "passed_over",
        "peer",
        "pool",
        "queued",
        "reason",
        "request_bytes",
        "response_bytes",
        "secured",
        "started",
        "status",
        "target",
        "usual",
    )

    def __init__(
        self, exchange_id: bytes, listener: str, peer: str, started: float, secured: Secured | None = None
    ) -> None:
        self.id = exchange_id
        self.listener = listener
        self.client = self.peer = peer
        self.secured = secured
        self.announced: Announced | None = None
        self.noted: Noted | None = None
        self.started = started
        self.ended: float | None = None
        self.method = b""
        self.target = b""
        self.pool = ""
        self.attempts: list[AttemptRecord] = []
        self.leader: AttemptRecord | None = None
        self.passed_over = NONE_PASSED_OVER
        self.queued = 0.0
        self.gathered: float | None = None
        """Seconds in which the body was received before a backend was chosen; None if it was not."""
        self.held = 0
        """The most bytes of the response that were held for the client at once."""
        self.client_took = 0.0
        """Seconds in which the backend had to wait until the client took more of the response."""
        self.is_stream = False
        self.usual: float | None = None
        """The median of its pool, in seconds, as it was when the recorder was first asked for it."""
        self.status = 0
        self.reason: Reason | None = None
        self.detail = ""
        self.request_bytes = 0
        self.response_bytes = 0

    @property
    def sends(self) -> int:
        """How many times the request was sent, in whole or in part, over a connection."""
        return sum(attempt.connected is not None for attempt in self.attempts)

    @property
    def deciding(self) -> AttemptRecord | None:
        """The attempt that decides how the exchange ends: the leader, or the last; None without any."""
        return self.leader or (self.attempts[-1] if self.attempts else None)
