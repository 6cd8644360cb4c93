"""Every way for an exchange to end, in the words that an operator reads."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lb.errors
from admin.views.explanation import LONGEST, explain
from admin.views.failure_words import DID, HAPPENED, LOOK, error_of
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.health.ejection import Cause
from lb.core.health.probe_verdict import Check
from lb.core.passed_over import NONE_PASSED_OVER, PassedOver
from lb.core.registry import Registry
from lb.errors import (
    Abandoned,
    AnswerRefused,
    AttemptCut,
    BackendError,
    BackendStalled,
    BadRequest,
    BadResponse,
    CertificateRefused,
    ClientError,
    ClientGone,
    ClientStalled,
    ConnectFailed,
    ConnectionTerminated,
    ConnectTimeout,
    LBError,
    LoopDetected,
    NameNotResolved,
    NameUnanswered,
    NoPortLeft,
    NotHttp,
    QueueFull,
    Reason,
    RequestTimeout,
    RequestUnfinished,
    ResponseIncomplete,
    ResponseStalled,
    ResponseTimeout,
    TlsFailed,
    TlsRefused,
    TooManyDescriptors,
    TunnelIdle,
    Unavailable,
    UpgradeFailed,
)
from lb.settings.pool_settings import PoolSettings, Probe, Retry
from tests.core.scene import Clock, registry, spec

EPOCH = 1_800_000_000.0  # 08:00:00Z
NEVER_THE_END = {ClientError, BackendError, AnswerRefused}
"""Two are only the names of a kind, and behind the third there is always another attempt."""

Try = tuple[str, Reason | None]


def wall(moment: float) -> float:
    return EPOCH + moment - 1000.0


class House:
    """A registry of some backends, and exchanges as their clients leave them behind."""

    def __init__(self, *ids: str, **settings: Any) -> None:
        self.clock = Clock()
        self.registry: Registry = registry(self.clock)
        self.pool = self.registry.add_pool("default", PoolSettings(**settings))
        for name in ids:
            self.registry.add(spec(name))

    def exchange(self, *tries: Try, **facts: Any) -> ExchangeRecord:
        """One that took two seconds; each attempt that failed took a tenth of one."""
        made = ExchangeRecord(b"1", "front", "192.0.2.1:5000", 1000.0)
        made.method, made.target, made.pool = b"GET", b"/", "default"
        for number, (name, reason) in enumerate(tries):
            attempt = AttemptRecord(self.registry.backend(name), NONE_PASSED_OVER, 1000.0 + number / 10)
            attempt.reason, attempt.ended = reason, attempt.started + 0.1
            made.attempts.append(attempt)
        made.ended = self.clock.now = 1002.0
        for name, fact in facts.items():
            setattr(made, name, fact)
        return made

    def failed(self, error: LBError, *tries: Try, **facts: Any) -> ExchangeRecord:
        """As `lb.proxy.client_side.connection.Client.finish` leaves it."""
        made = self.exchange(*tries, **facts)
        made.reason, made.detail, made.status = error.reason, str(error), made.status or error.status
        if made.attempts and isinstance(error, BackendError):
            made.attempts[-1].reason = error.reason
        return made

    def explain(self, exchange: ExchangeRecord) -> str:
        return explain(exchange, self.registry, wall)


class Case(NamedTuple):
    """An error, the attempts and facts of its exchange, and what is said before where to look."""

    error: LBError
    tries: tuple[Try, ...]
    facts: dict[str, Any]
    says: str


RUNNING: tuple[Try, ...] = (("web1", None),)
REFUSED = Reason.CONNECTION_REFUSED
NOBODY_ELSE = "There is no other backend in pool default."
NOT_AGAIN = "The request may have been carried out, so it was not sent again."
FINE = "web1 is available now."
CASES = [
    Case(
        ConnectFailed("web1 at http://web1.test:80: Connection refused"),
        RUNNING,
        {},
        f"web1 refused the connection. {NOBODY_ELSE} {FINE}",
    ),
    Case(
        ConnectFailed("web1 at http://web1.test:80: No route to host"),
        RUNNING,
        {},
        f"web1 refused the connection (web1 at http://web1.test:80: No route to host). {NOBODY_ELSE} {FINE}",
    ),
    Case(
        TlsFailed("web1 at https://web1.test: it does not speak TLS there"),
        RUNNING,
        {},
        f"web1 did not come to speak TLS (web1 at https://web1.test: it does not speak TLS there)."
        f" {NOBODY_ELSE} {FINE}",
    ),
    Case(
        CertificateRefused("web1 at https://web1.test: its certificate for web1.test ended on 2026-11-01"),
        RUNNING,
        {},
        "web1 showed a certificate that we do not accept (web1 at https://web1.test: its certificate for"
        f" web1.test ended on 2026-11-01). {NOBODY_ELSE} {FINE}",
    ),
    Case(
        TlsRefused("web1 at https://web1.test: it refused the handshake: unknown ca"),
        RUNNING,
        {},
        "web1 refused our TLS handshake (web1 at https://web1.test: it refused the handshake: unknown ca)."
        f" {NOBODY_ELSE} {FINE}",
    ),
    Case(
        ConnectTimeout("web1 took no connection in 5 s"),
        RUNNING,
        {},
        f"web1 took no connection in time. {NOBODY_ELSE} {FINE}",
    ),
    Case(
        NameNotResolved("web1.test has no address: unknown"),
        RUNNING,
        {},
        f"web1 had a name without an address. {NOBODY_ELSE} {FINE}",
    ),
    Case(
        NameUnanswered("web1.test is not resolved yet: no answer in 10 s"),
        RUNNING,
        {},
        f"web1 had a name that was not resolved yet. {NOBODY_ELSE} {FINE}",
    ),
    Case(
        NoPortLeft("web1 at http://web1: no local port is left to connect from"),
        RUNNING,
        {},
        f"web1 could not be connected to, as this machine had no port left for it. {NOBODY_ELSE} {FINE}",
    ),
    Case(
        ConnectionTerminated("web1 closed the connection without an answer"),
        RUNNING,
        {"method": b"POST"},
        "web1 closed the connection without an answer. POST is not idempotent, so it was not sent again."
        f" {FINE}",
    ),
    Case(
        ResponseTimeout(ResponseTimeout.too_slow),
        RUNNING,
        {},
        f"web1 did not answer within 0.1 s (timeouts.response_head). {NOBODY_ELSE} {FINE}",
    ),
    Case(
        BackendStalled(BackendStalled.too_slow),
        RUNNING,
        {},
        f"web1 stopped reading the request. {NOT_AGAIN} {FINE}",
    ),
    Case(
        BadResponse("a field line is not one"),
        RUNNING,
        {},
        f"web1 gave an answer that cannot be passed on (a field line is not one)."
        f" An answer that is no proper HTTP is not tried again. {FINE}",
    ),
    Case(
        NotHttp(NotHttp.what),
        RUNNING,
        {},
        f"web1 gave an answer that cannot be passed on (the answer is not HTTP/1)."
        f" An answer that is no proper HTTP is not tried again. {FINE}",
    ),
    Case(
        UpgradeFailed("the backend switched to a protocol that was not asked for"),
        RUNNING,
        {},
        f"web1 switched to a protocol that nobody had asked for. {NOT_AGAIN} {FINE}",
    ),
    Case(
        ResponseIncomplete("the backend closed the connection in the middle of its answer"),
        RUNNING,
        {"status": 200},
        f"web1 broke off the answer. Its answer had begun, so no other backend could be asked. {FINE}",
    ),
    Case(
        ResponseStalled(ResponseStalled.too_slow),
        RUNNING,
        {"status": 200},
        "web1 stopped in the middle of the answer. Its answer had begun, so no other backend could be asked."
        f" {FINE}",
    ),
    Case(
        BadRequest("the head is longer than 16384 bytes", 431),
        (),
        {},
        "The balancer refused the request with 431: the head is longer than 16384 bytes.",
    ),
    Case(
        LoopDetected("the request came through this balancer before", 508),
        (),
        {},
        "The request had come through this balancer before, and was refused with 508.",
    ),
    Case(
        RequestTimeout(RequestTimeout.too_slow), (), {}, "The client did not send its whole request in time."
    ),
    Case(
        RequestUnfinished(RequestUnfinished.too_slow),
        RUNNING,
        {},
        "The client did not send the rest of its request, and web1 would not wait for it.",
    ),
    Case(
        ClientGone("the client closed the connection"),
        (("web1", Reason.CLIENT_DISCONNECTED),),
        {},
        "The client left after 2.0 s, before web1 had answered (the client closed the connection).",
    ),
    Case(
        ClientGone("the client reset the connection"),
        (),
        {"method": b"", "pool": "", "ended": 1000.25},
        "The client left after 250 ms, in the middle of its request (the client reset the connection).",
    ),
    Case(
        ClientStalled(ClientStalled.too_slow),
        RUNNING,
        {"status": 200, "response_bytes": 4096},
        "The client stopped reading; its answer was broken off after 4096 bytes.",
    ),
    Case(
        TunnelIdle(TunnelIdle.too_slow),
        RUNNING,
        {"status": 101},
        "Nothing went through the tunnel to web1 for too long, so it was closed.",
    ),
    Case(
        Unavailable("no backend is available: web1 (draining)"),
        (),
        {},
        "Nobody could take the request: no backend is available: web1 (draining). All are available now.",
    ),
    Case(
        Unavailable("no backend is available: web1 (tried already)"),
        (("web1", REFUSED),),
        {},
        "Nobody could take the request: no backend is available: web1 (tried already)."
        " Before that, web1 refused the connection. All are available now.",
    ),
    Case(
        Unavailable("no backend is available: web1 (tried already)"),
        (("web1", Reason.DESTINATION_UNAVAILABLE),),
        {},
        "Nobody could take the request: no backend is available: web1 (tried already)."
        " Before that, web1 answered with a status that is tried again. All are available now.",
    ),
    Case(
        AttemptCut("the backend was taken out while the request ran on it"),
        RUNNING,
        {},
        "The request was cut before web1 had answered: the backend was taken out while the request ran on it."
        f" {FINE}",
    ),
    Case(
        AttemptCut("the balancer was stopped, and the grace was over"),
        (),
        {},
        "The request was cut while it waited for a backend:"
        " the balancer was stopped, and the grace was over.",
    ),
    Case(
        Abandoned("the balancer was ended at once"),
        (("web1", Reason.DESTINATION_UNAVAILABLE),),
        {},
        "The connection was ended from outside before web1 had answered: the balancer was ended at once.",
    ),
    Case(
        QueueFull("no backend came free in 30 s"),
        (),
        {},
        f"Every backend of pool default was at its cap: no backend came free in 30 s. {FINE}",
    ),
    Case(
        TooManyDescriptors("this balancer is out of file descriptors"),
        RUNNING,
        {},
        "The balancer had no file descriptor left to connect to web1 with.",
    ),
    Case(
        LBError("the balancer has a bug; its log says more"),
        (),
        {},
        "The balancer itself failed; the traceback is in its log.",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.error).__name__)
def test_every_end_is_explained(case: Case) -> None:
    house = House("web1")
    exchange = house.failed(case.error, *case.tries, **case.facts)
    assert error_of(exchange) is type(case.error)
    look = "" if case.says.endswith("All are available now.") else f" {LOOK[type(case.error)]}"
    assert house.explain(exchange) == case.says + look


def kinds(of: type[LBError] = LBError) -> Iterator[type[LBError]]:
    if of.__module__ == lb.errors.__name__:
        yield of
    for each in of.__subclasses__():
        yield from kinds(each)


def test_the_table_has_every_class_and_every_reason() -> None:
    ends = set(kinds()) - NEVER_THE_END
    assert {type(case.error) for case in CASES} == ends == set(LOOK)
    assert set(HAPPENED) == {each for each in ends if not issubclass(each, BackendError)}
    assert {case.error.reason for case in CASES} == set(Reason)
    assert set(DID) == {each.reason for each in kinds() if issubclass(each, BackendError)} - {
        Reason.PROXY_INTERNAL_ERROR
    }


# -- several attempts -------------------------------------------------------------------------------------


def test_both_refused_and_both_marked_down() -> None:
    house = House("web2", "web3", probe=Probe(fall=1))
    for name in ("web2", "web3"):
        house.registry.checked(house.registry.backend(name), Check(False, "connection refused", 0.1, 1187.0))
    exchange = house.failed(ConnectFailed("Connection refused"), ("web2", REFUSED), ("web3", None))
    assert house.explain(exchange) == (
        "2 of 2 attempts failed: web2 and web3 refused the connection. Every backend of the pool was tried."
        " web2 and web3 now: down since 08:03:07Z."
        " Look whether the server runs, and listens where its url says."
    )


def test_each_failed_in_its_own_way_and_stands_in_its_own_way() -> None:
    house = House("web1", "web2", "web3", "web4")
    tries = ("web1", Reason.CONNECTION_TERMINATED), ("web1", REFUSED), ("web2", Reason.DNS_ERROR)
    exchange = house.failed(ConnectTimeout("slow"), *tries, ("web3", None))
    exchange.attempts[0].reused = True
    exchange.attempts[-1].passed_over = PassedOver((("web4", "draining"), ("web1", "tried already")))
    house.registry.backend("web1").outcomes.eject(Cause.CONSECUTIVE, 1001.0, "refused")
    house.registry.maintenance(house.registry.backend("web2"))
    house.registry.remove(house.registry.backend("web3"))
    assert house.explain(exchange).startswith(
        "4 of 4 attempts failed: web1 closed the connection that was reused, without an answer, then web1"
        " refused the connection, then web2 had a name without an address, then web3 took no connection in"
        " time. There was no other to ask: web4 was draining. web1 is ejected since 08:00:01Z until"
        " 08:00:11Z; web2 is in maintenance; web3 is gone from the pool since."
    )


@pytest.mark.parametrize(
    ("settings", "passed_over", "says"),
    [
        ({"attempts": 0}, (), "The pool allows 0 attempts beside the first (retry.attempts)."),
        ({"deadline": 2.0}, (), "The 2 s for all attempts were over (retry.deadline)."),
        ({}, (), ""),  # it may have been the budget, or the body
        ({}, (("web2", "full 3/3"),), ""),
        ({}, (("web2", "down: \x1b[2J"),), r"There was no other to ask: web2 was down: \x1b[2J."),
    ],
)
def test_why_nobody_else_was_asked(
    settings: dict[str, Any], passed_over: tuple[tuple[str, str], ...], says: str
) -> None:
    house = House("web1", "web2", retry=Retry(**settings))
    for each in house.pool.backends:
        each.since = 0.0
    exchange = house.failed(ConnectFailed("Connection refused"), *RUNNING)
    exchange.attempts[0].passed_over = PassedOver(passed_over)
    between = f" {says} " if says else " "
    assert house.explain(exchange).startswith(f"web1 refused the connection.{between}web1 is available now.")


def test_a_pool_that_is_gone_and_one_that_never_was() -> None:
    house = House("web1")
    exchange = house.failed(ConnectFailed("Connection refused"), *RUNNING, pool="old")
    assert house.explain(exchange).startswith("web1 refused the connection. web1 is available now.")
    nowhere = house.failed(Unavailable("no route matches, and there is no pool 'old'"), pool="old")
    assert house.explain(nowhere).startswith("Nobody could take the request: no route matches")


def test_many_backends_are_a_few_words_and_old_times_have_a_date() -> None:
    house = House(*(f"web{number:03}" for number in range(500)))
    for backend in [*house.pool.backends][2:]:
        house.registry.maintenance(backend)
    [*house.pool.backends][1].outcomes.eject(Cause.CONSECUTIVE, 1000.0, "refused")
    exchange = house.failed(Unavailable("no backend is available: " + "web000 (full 1/1), " * 500))
    house.clock.now += 86400
    text = house.explain(exchange)
    assert "web002, web003, web004 and 495 more are all well but in maintenance" in text
    assert "web001 is ejected since 2027-01-15 08:00:00Z until 2027-01-15 08:00:10Z" in text
    assert len(text) <= LONGEST
    assert text.endswith(LOOK[Unavailable])


def test_each_backend_is_told_of_once_with_its_cure() -> None:
    house = House("web1", "web2", "web3", "web4", "web5", probe=Probe(fall=1))
    house.registry.drain(house.registry.backend("web3"), 60)
    house.registry.checked(house.registry.backend("web1"), Check(False, "refused", 0.1, 1000.0))
    detail = (
        "no backend is available: web1 (down: refused (x)), web2 (full 1/1), web3 (drained), web4 (full 1/1)"
    )
    exchange = house.failed(Unavailable(detail))
    exchange.passed_over = PassedOver(
        (
            ("web1", "down: refused (x)"),
            ("web3", "drained"),
            *((f"web{each}", "full 1/1") for each in (2, 4, 5)),
        )
    )
    house.registry.checked(house.registry.backend("web2"), Check(False, "refused", 0.1, 1005.0))
    assert house.explain(exchange) == (
        "Nobody could take the request. web1 is marked down since 08:00:00Z."
        " web2 was full 1/1; now: down since 08:00:05Z."
        " web3 is well but drained since 08:00:00Z: POST /backends/web3/ready brings it back."
        f" web4 and web5 were full 1/1; now: available. {LOOK[Unavailable]}"
    )


def test_nothing_that_others_worded_reaches_the_terminal() -> None:
    house = House("web1")
    exchange = house.failed(BadRequest("no \x1b[2J\udcff"))
    assert house.explain(exchange).startswith(
        r"The balancer refused the request with 400: no \x1b[2J\xff. Look"
    )


# -- answers ----------------------------------------------------------------------------------------------


def test_answers() -> None:
    house = House("web1", "web2", "web3")
    assert house.explain(house.exchange(("web1", None), status=200)) == "web1 answered 200 in 2.0 s."
    assert house.explain(house.exchange(status=204)) == "The balancer answered 204 itself, in 2.0 s."
    assert house.explain(house.exchange(("web1", None), status=503)) == (
        "web1 answered 503 in 2.0 s. That is its own answer, passed on as it came: look into its log."
    )
    tried = ("web1", REFUSED), ("web2", Reason.DESTINATION_UNAVAILABLE), ("web3", None)
    assert house.explain(house.exchange(*tried, status=200)) == (
        "web3 answered 200 in 2.0 s. Before that, web1 refused the connection, then web2 answered with a"
        " status that is tried again."
    )


def test_a_race() -> None:
    house = House("web1", "web2")
    exchange = house.exchange(("web1", None), ("web2", None), status=200)
    exchange.attempts[0].is_beaten = True
    assert house.explain(exchange) == "web2 answered 200 in 2.0 s. web1 was asked too, and was slower."


def test_who_was_beaten_did_not_fail() -> None:
    """The winner of a race broke off its answer; the reason stands at the last attempt as well."""
    house = House("web1", "web2")
    exchange = house.failed(
        ResponseIncomplete("broke"), ("web1", Reason.HTTP_RESPONSE_INCOMPLETE), ("web2", None), status=200
    )
    exchange.attempts[1].is_beaten = True
    assert house.explain(exchange).startswith("1 of 2 attempts failed: web1 broke off the answer. Its answer")


tries = st.tuples(st.sampled_from(["web1", "web2"]), st.none() | st.sampled_from(Reason))


@given(
    st.none() | st.sampled_from(Reason),
    st.sampled_from([0, 101, 200, 502, 503, 504]),
    st.lists(tries, max_size=3),
    st.text(max_size=300),
    st.sampled_from(["default", "gone", ""]),
    st.booleans(),
)
def test_there_is_an_explanation_for_anything(
    reason: Reason | None, status: int, attempts: list[Try], detail: str, pool: str, is_beaten: bool
) -> None:
    house = House("web1", "web2", "web3")
    exchange = house.exchange(*attempts, reason=reason, status=status, detail=detail, pool=pool)
    for attempt in exchange.attempts[-1:]:
        attempt.is_beaten = is_beaten
    text = house.explain(exchange)
    assert text.isascii()
    assert text.isprintable()
    assert 0 < len(text) <= LONGEST


def test_who_did_not_fail_has_no_error() -> None:
    with pytest.raises(ValueError, match="did not fail"):
        error_of(House("web1").exchange(("web1", None), status=200))
