"""Whose fault it is that an attempt failed: a backend is blamed only for what it did itself.

Failures that count against a backend can eject it. So a client that sends slowly, reads slowly, or asks for a
page that we refuse must not be able to cause one. A backend is not blamed when

- its request had not been sent whole: the client may have stopped sending, and the backend waiting (unless
  it could not be connected to, or did not take what was sent);
- it broke off while bytes for the client waited here: the client may have stopped reading;
- its response broke a rule of ours: the response is refused, but the backend may be well;
- its idle connection had gone stale: the connection ended before the request came;
- it had less than its time, because the deadline of the whole exchange came first;
- its name is not resolved yet: that is the resolver's fault;
- this machine has no port left to connect to it from: clients that leave early use them up.
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
    NameUnanswered,
    NoPortLeft,
    NotHttp,
    RequestUnfinished,
    ResponseIncomplete,
    ResponseTimeout,
)

PATIENCE_SECONDS = 1.0
"""A backend that waits for a client for less than this is blamed for breaking off."""
NOT_TO_BLAME = (AnswerRefused, NameUnanswered, NoPortLeft)


class Circumstances:
    """What is known of an attempt when it fails; times in seconds.

    `is_sent`: its request was sent whole. `is_stale`: its connection had been idle, and ended at once.
    `is_hurried`: the deadline of the exchange came before the backend's own timeout. `client_held`: how long
    bytes of the response waited for the client to read, as far as that matters now. `client_owed`: how long
    the backend, which had all that came of the request, has waited for the client to send the rest; None
    where it did not wait.
    """

    __slots__ = ("client_held", "client_owed", "is_hurried", "is_sent", "is_stale")

    def __init__(
        self,
        *,
        is_sent: bool,
        is_stale: bool,
        is_hurried: bool,
        client_held: float,
        client_owed: float | None,
    ) -> None:
        self.is_sent = is_sent
        self.is_stale = is_stale
        self.is_hurried = is_hurried
        self.client_held = client_held
        self.client_owed = client_owed


def is_blamed(error: LBError, seen: Circumstances) -> bool:
    """Does this failure count against the backend?"""
    if not isinstance(error, BackendError) or isinstance(error, NOT_TO_BLAME):
        return False
    if isinstance(error, ResponseTimeout | ConnectTimeout) and seen.is_hurried:
        return False
    if isinstance(error, ConnectFailed):
        return True
    if isinstance(error, BadResponse) and (seen.is_stale or not isinstance(error, NotHttp)):
        return False
    if seen.client_held >= PATIENCE_SECONDS:
        return False
    if isinstance(error, BackendStalled):
        return True  # it did not take what the client had sent
    return seen.is_sent and not (seen.is_stale and isinstance(error, ConnectionTerminated))


def told(error: BackendError, seen: Circumstances, *, is_answered: bool) -> LBError:
    """The error to report for an attempt that is the last: a ClientError where the client was the cause.

    `is_answered`: the head of the response has gone to the client. An idle connection that ends as the
    request comes has gone stale; it has not waited for the client.
    """
    if not isinstance(error, ConnectionTerminated | ResponseIncomplete):
        return error
    if is_answered and seen.client_held >= PATIENCE_SECONDS:
        return ClientStalled(ClientStalled.too_slow)
    if is_answered or seen.client_owed is None or (seen.is_stale and seen.client_owed < PATIENCE_SECONDS):
        return error
    return RequestUnfinished(RequestUnfinished.too_slow)
