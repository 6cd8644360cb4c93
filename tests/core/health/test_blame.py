"""Blame: which failed attempts count against a backend, and which are reported as the client's."""

import pytest

from lb.core.health.blame import PATIENCE_SECONDS, Circumstances, is_blamed, told
from lb.errors import (
    AnswerRefused,
    BackendError,
    BackendStalled,
    BadResponse,
    ClientGone,
    ClientStalled,
    ConnectFailed,
    ConnectionTerminated,
    ConnectTimeout,
    LBError,
    NoPortLeft,
    NotHttp,
    RequestUnfinished,
    ResponseIncomplete,
    ResponseStalled,
    ResponseTimeout,
    UpgradeFailed,
)


def seen(
    is_sent: bool = True,
    is_stale: bool = False,
    is_hurried: bool = False,
    client_held: float = 0.0,
    client_owed: float | None = None,
) -> Circumstances:
    return Circumstances(
        is_sent=is_sent,
        is_stale=is_stale,
        is_hurried=is_hurried,
        client_held=client_held,
        client_owed=client_owed,
    )


USUAL = seen()
UNSENT = seen(is_sent=False)
STALE = seen(is_stale=True)
HURRIED = seen(is_hurried=True)
HELD = seen(client_held=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("error", "circumstances", "expected"),
    [
        (ConnectFailed, USUAL, True), (ConnectFailed, UNSENT, True),
        (ConnectTimeout, UNSENT, True), (NoPortLeft, UNSENT, False),
        (ConnectTimeout, HURRIED, False), (ResponseTimeout, HURRIED, False), (ResponseTimeout, USUAL, True),
        (ResponseTimeout, UNSENT, False), (ConnectionTerminated, USUAL, True),
        (ConnectionTerminated, UNSENT, False), (ConnectionTerminated, STALE, False),
        (ResponseIncomplete, STALE, True), (ResponseIncomplete, HELD, False), (ResponseStalled, USUAL, True),
        (ResponseStalled, seen(client_held=PATIENCE_SECONDS / 2), True), (BackendStalled, UNSENT, True),
        (BackendStalled, HELD, False), (BadResponse, USUAL, False), (UpgradeFailed, USUAL, False),
        (NotHttp, USUAL, True), (NotHttp, UNSENT, False), (AnswerRefused, USUAL, False),
        (ClientGone, USUAL, False), (LBError, USUAL, False),
    ],
)  # fmt: skip
def test_a_backend_is_blamed_for_what_it_did_itself(
    error: type[LBError], circumstances: Circumstances, expected: bool
) -> None:
    assert is_blamed(error("it failed"), circumstances) is expected


OWED = seen(is_sent=False, client_owed=0.0)
LONG_OWED = seen(is_sent=False, is_stale=True, client_owed=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("error", "circumstances", "is_answered", "expected"),
    [
        (ConnectionTerminated, OWED, False, RequestUnfinished),
        (ConnectionTerminated, LONG_OWED, False, RequestUnfinished),
        (ConnectionTerminated, seen(is_stale=True, client_owed=0.0), False, ConnectionTerminated),
        (ConnectionTerminated, USUAL, False, ConnectionTerminated),
        (ResponseIncomplete, OWED, False, RequestUnfinished),
        (ResponseIncomplete, OWED, True, ResponseIncomplete),
        (ResponseIncomplete, HELD, True, ClientStalled),
        (ResponseIncomplete, HELD, False, ResponseIncomplete),
        (ResponseTimeout, OWED, False, ResponseTimeout), (ConnectFailed, OWED, False, ConnectFailed),
    ],
)  # fmt: skip
def test_a_failure_that_the_client_caused_is_reported_as_the_client_s(
    error: type[BackendError], circumstances: Circumstances, is_answered: bool, expected: type[LBError]
) -> None:
    reported = told(error("it failed"), circumstances, is_answered=is_answered)
    assert type(reported) is expected
    assert str(reported) == ("it failed" if expected is error else expected.too_slow)
