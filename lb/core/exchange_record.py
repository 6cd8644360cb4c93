"""The record of one exchange: what was decided, why, and how it went.

It holds references and plain numbers only, never a body or a secret; metrics, log and API render it. Times
are on the caller's monotonic clock, in seconds; None where a phase was not reached.
"""

from lb.core.backend import Backend
from lb.core.passed_over import NONE_PASSED_OVER, PassedOver
from lb.errors import Reason


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


class ExchangeRecord:
    """One request and its response, as they are remembered.

    `leader` is the attempt that decides how the exchange ends, where two are in a race: the one ahead.
    `passed_over` are all backends of the pool where none could take the request; empty where one could.
    """

    __slots__ = (
        "attempts",
        "client",
        "detail",
        "ended",
        "id",
        "leader",
        "listener",
        "method",
        "passed_over",
        "pool",
        "queued",
        "reason",
        "request_bytes",
        "response_bytes",
        "started",
        "status",
        "target",
    )

    def __init__(self, exchange_id: bytes, listener: str, client: str, started: float) -> None:
        self.id = exchange_id
        self.listener = listener
        self.client = client
        self.started = started
        self.ended: float | None = None
        self.method = b""
        self.target = b""
        self.pool = ""
        self.attempts: list[AttemptRecord] = []
        self.leader: AttemptRecord | None = None
        self.passed_over = NONE_PASSED_OVER
        self.queued = 0.0
        self.status = 0
        self.reason: Reason | None = None
        self.detail = ""
        self.request_bytes = 0
        self.response_bytes = 0

    @property
    def deciding(self) -> AttemptRecord | None:
        """The attempt that decides how the exchange ends: the leader, or the last; None without any."""
        return self.leader or (self.attempts[-1] if self.attempts else None)
