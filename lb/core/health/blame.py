"""Whose fault it is that an attempt failed: a backend is blamed only for what it did itself.

What counts against a backend can eject it, so a client that sends slowly, or reads slowly, or asks for a page
that we refuse must never be able to bring that about. Not blamed is a backend

- whose request had not been sent to it whole: it may have tired of a client that did not go on;
- that broke off while bytes for the client waited here: it may have tired of a client that did not read;
- whose answer broke a rule of ours: the answer is refused, and the backend may be well;
- whose idle connection had gone stale: it ended before the request came;
- that had less than its time, because the deadline of the whole exchange had come.
"""

from lb.errors import (
    AnswerRefused,
    BackendError,
    BackendStalled,
    BadResponse,
    ClientStalled,
    ConnectFailed,
    ConnectionTerminated,
    ConnectTimeout,
    LBError,
    NotHttp,
    RequestUnfinished,
    ResponseIncomplete,
    ResponseTimeout,
)

PATIENCE_SECONDS = 1.0
"""For so long a backend has to bear with a client; one that breaks off later is excused."""


class Circumstances:
    """What is known of an attempt when it fails; times in seconds.

    `is_sent`: its request was sent whole. `is_reused`: it ran on a connection that had been idle.
    `is_hurried`: the deadline of the exchange came before the timeout that is the backend's own.
    `client_held`: for so long in all did bytes of the response wait for the client to take them.
    `client_owed`: for so long has the backend had all that came of a request whose rest is the client's to
    send; None where that is not so.
    """

    __slots__ = ("client_held", "client_owed", "is_hurried", "is_reused", "is_sent")

    def __init__(
        self,
        *,
        is_sent: bool,
        is_reused: bool,
        is_hurried: bool,
        client_held: float,
        client_owed: float | None,
    ) -> None:
        self.is_sent = is_sent
        self.is_reused = is_reused
        self.is_hurried = is_hurried
        self.client_held = client_held
        self.client_owed = client_owed


def is_blamed(error: LBError, seen: Circumstances) -> bool:
    """Does this failure count against the backend?"""
    if not isinstance(error, BackendError) or isinstance(error, AnswerRefused):
        return False
    if isinstance(error, ResponseTimeout | ConnectTimeout) and seen.is_hurried:
        return False
    if isinstance(error, ConnectFailed):
        return True
    if isinstance(error, BadResponse) and not isinstance(error, NotHttp):
        return False
    if seen.client_held >= PATIENCE_SECONDS:
        return False
    if isinstance(error, BackendStalled):
        return True  # it did not take what the client had sent
    return seen.is_sent and not (seen.is_reused and isinstance(error, ConnectionTerminated))


def told(error: BackendError, seen: Circumstances, *, is_answered: bool) -> LBError:
    """The error to tell of a failure behind which nothing is tried: the client's, where it was the client.

    `is_answered`: the head of the response has gone to the client. An idle connection that ends as the
    request comes has gone stale; it has not waited for the client.
    """
    if not isinstance(error, ConnectionTerminated | ResponseIncomplete):
        return error
    if is_answered and seen.client_held >= PATIENCE_SECONDS:
        return ClientStalled(ClientStalled.too_slow)
    if is_answered or seen.client_owed is None or (seen.is_reused and seen.client_owed < PATIENCE_SECONDS):
        return error
    return RequestUnfinished(RequestUnfinished.too_slow)
