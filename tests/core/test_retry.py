"""May this be tried once more? Nothing may be processed twice."""

from collections.abc import Iterator

import pytest

from lb import errors
from lb.core.decision import Attempt, Exchange
from lb.core.retry import IDEMPOTENT, MAX_ATTEMPTS, may_retry
from lb.errors import ConnectFailed, ConnectionTerminated, LBError, Reason, Retry
from tests.core.scene import backends

REFUSED = ConnectFailed("refused")
TERMINATED = ConnectionTerminated("closed")


def exchange(method: bytes, attempts: str) -> Exchange:
    """One whose attempts went so: `c` connected, `-` never got that far."""
    made = Exchange(b"id", "listener", "client", 0.0)
    made.method = method
    [backend] = backends(1)
    for how in attempts:
        attempt = Attempt(backend, (), 0.0)
        attempt.connected = 0.0 if how == "c" else None
        made.attempts.append(attempt)
    return made


@pytest.mark.parametrize(
    ("error", "method", "attempts", "replayable", "expected"),
    [
        # nothing was sent: any method may go elsewhere, up to the third attempt
        (REFUSED, b"GET", "-", True, True),
        (REFUSED, b"POST", "-", True, True),
        (REFUSED, b"POST", "--", True, True),
        (REFUSED, b"GET", "---", True, False),
        (REFUSED, b"POST", "-", False, False),
        # it may have been processed: idempotent methods only, and once
        (TERMINATED, b"GET", "c", True, True),
        (TERMINATED, b"PUT", "c", True, True),
        (TERMINATED, b"POST", "c", True, False),
        (TERMINATED, b"PATCH", "c", True, False),
        (TERMINATED, b"PROPFIND", "c", True, False),
        (TERMINATED, b"get", "c", True, False),  # methods are case-sensitive
        (TERMINATED, b"GET", "c", False, False),
        (TERMINATED, b"GET", "-c", True, True),
        (TERMINATED, b"GET", "cc", True, False),
        (TERMINATED, b"GET", "c-", True, False),
        (TERMINATED, b"GET", "--c", True, False),
        # after a first loss the second attempt may still find nobody there
        (REFUSED, b"GET", "c-", True, True),
    ],
)
def test_b86_b87_b88_may_retry(
    error: LBError, method: bytes, attempts: str, replayable: bool, expected: bool
) -> None:
    assert may_retry(error, exchange(method, attempts), replayable) is expected


def classes(of: type[LBError] = LBError) -> Iterator[type[LBError]]:
    yield of
    for below in of.__subclasses__():
        yield from classes(below)


@pytest.mark.parametrize("error", [*classes()])
def test_what_is_not_said_to_be_safe_is_never_tried_again(error: type[LBError]) -> None:
    made = error("why")
    assert isinstance(made.reason, Reason)
    assert made.status == 0 or 400 <= made.status <= 599
    safe = issubclass(error, ConnectFailed | ConnectionTerminated)
    assert may_retry(made, exchange(b"GET", "c"), replayable=True) is safe
    assert (made.retry is Retry.NEVER) is not safe


def test_every_error_has_its_own_words_for_a_timeout_or_the_plain_ones() -> None:
    assert all(isinstance(error.too_slow, str) and error.too_slow for error in classes())
    assert errors.BadRequest("no", status=431).status == 431


def test_the_idempotent_methods_are_those_of_the_standard() -> None:
    assert {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"} == IDEMPOTENT
    assert MAX_ATTEMPTS == 3
