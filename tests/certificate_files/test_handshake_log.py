"""What is remembered of handshakes, and how few lines of the log a flood of refusals costs."""

from structlog.testing import capture_logs

from lb.certificate_files.handshake_log import MOST_KEPT, QUIET_SECONDS, HandshakeLog
from lb.tls.refusal import HandshakeReason
from tests.kit.terminations import refusal

R = HandshakeReason


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_all_are_counted_and_the_last_are_kept() -> None:
    log = HandshakeLog(Clock())
    log.succeeded("front", "TLSv1.3", True, 0.002)
    for number in range(MOST_KEPT + 5):
        log.refused(refusal(listener=str(number)))
    assert log.done == {("front", "TLSv1.3", True): 1}
    assert sum(log.failed.values()) == MOST_KEPT + 5
    assert [each.listener for each in log.last()][:2] == ["104", "103"]
    assert len(log.last()) == MOST_KEPT


def test_each_reason_has_a_line_now_and_then() -> None:
    clock = Clock()
    log = HandshakeLog(clock)
    with capture_logs() as logged:
        for _ in range(1000):
            log.refused(refusal())
        log.refused(refusal(R.CLIENT_DISTRUSTS_US))
        clock.now = QUIET_SECONDS
        log.refused(refusal())
    assert [(line["reason"], line["untold"]) for line in logged] == [
        ("unknown_name", 0),
        ("client_distrusts_us", 0),
        ("unknown_name", 999),
    ]
    assert logged[0]["sentence"] == "There is no certificate for nobody.test."


def test_who_says_nothing_about_us_costs_no_line() -> None:
    log = HandshakeLog(Clock())
    with capture_logs() as logged:
        for reason in (R.NOT_TLS, R.HUNG_UP, R.TOO_SLOW):
            log.refused(refusal(reason))
    assert logged == []
    assert log.failed["127.0.0.1:443", R.NOT_TLS] == 1
