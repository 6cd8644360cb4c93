"""May this be tried once more? Nothing may be processed twice."""

from collections.abc import Iterator

import pytest

from lb import errors
from lb.core.retry import IDEMPOTENT, may_replace, may_retry, pause
from lb.errors import (
    AnswerRefused,
    ConnectFailed,
    ConnectionTerminated,
    LBError,
    Reason,
    ResponseIncomplete,
    ResponseTimeout,
    Retryable,
)
from lb.settings.pool_settings import Retry

REFUSED = ConnectFailed("refused")
TERMINATED = ConnectionTerminated("closed")
SLOW = ResponseTimeout("slow")
ANSWERED_503 = AnswerRefused("a answered 503")
BROKEN = ResponseIncomplete("it broke off")


@pytest.mark.parametrize(
    ("error", "is_idempotent", "replayable", "expected"),
    [
        # nothing was sent: anything may go elsewhere
        (REFUSED, True, True, True),
        (REFUSED, False, True, True),
        (REFUSED, True, False, False),
        # it may have been processed
        (TERMINATED, True, True, True),
        (TERMINATED, False, True, False),
        (TERMINATED, True, False, False),
        (SLOW, True, True, True),
        (SLOW, False, True, False),
        (ANSWERED_503, True, True, True),
        (ANSWERED_503, False, True, False),
        # the client has seen a part of it
        (BROKEN, True, True, False),
    ],
)
def test_b86_b87_b88_may_retry(error: LBError, is_idempotent: bool, replayable: bool, expected: bool) -> None:
    assert may_retry(error, is_idempotent, replayable) is expected


@pytest.mark.parametrize(
    ("further", "chance", "expected"),
    [
        (1, 0.9, 0.0),
        (2, 0.0, 0.05),
        (2, 1.0, 0.1),
        (3, 1.0, 0.2),
        (4, 0.5, 0.3),
        (9, 1.0, 1.0),
        (99, 0.0, 0.5),
    ],
)
def test_the_first_further_attempt_goes_at_once_and_the_others_ever_later(
    further: int, chance: float, expected: float
) -> None:
    assert pause(Retry(backoff=0.1), further, chance) == pytest.approx(expected)


def test_without_a_backoff_there_is_no_pause() -> None:
    assert pause(Retry(backoff=0.0), 5, 0.5) == 0.0


def classes(of: type[LBError] = LBError) -> Iterator[type[LBError]]:
    yield of
    for below in of.__subclasses__():
        yield from classes(below)


@pytest.mark.parametrize("error", [*classes()])
def test_what_is_not_said_to_be_safe_is_never_tried_again(error: type[LBError]) -> None:
    made = error("why")
    assert isinstance(made.reason, Reason)
    assert made.status == 0 or 400 <= made.status <= 599
    safe = issubclass(error, ConnectFailed | ConnectionTerminated | ResponseTimeout | AnswerRefused)
    assert may_retry(made, is_idempotent=True, replayable=True) is safe
    assert (made.retry is Retryable.NEVER) is not safe


def test_every_error_has_its_own_words_for_a_timeout_or_the_plain_ones() -> None:
    assert all(isinstance(error.too_slow, str) and error.too_slow for error in classes())
    assert errors.BadRequest("no", status=431).status == 431


def test_the_idempotent_methods_are_those_of_the_standard() -> None:
    assert {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"} == IDEMPOTENT


@pytest.mark.parametrize(
    ("sends", "is_replaced", "further", "may"),
    [
        (1, False, 2, True),
        (2, False, 2, True),
        (3, False, 2, False),
        (2, True, 2, False),
        (1, False, 0, True),
        (2, False, 0, False),
    ],
)
def test_f5_23_a_stale_connection_is_replaced_once_and_counts(
    sends: int, is_replaced: bool, further: int, may: bool
) -> None:
    assert may_replace(sends, is_replaced, further) is may
