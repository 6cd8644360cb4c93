"""Exchanges that one process tells another: they are the same over there, and what is told is bounded."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.exchange_record import Announced, AttemptRecord, ExchangeRecord
from lb.core.passed_over import NAMED, NONE_PASSED_OVER, PassedOver
from lb.core.registry import Registry
from lb.core.running_exchange import RunningExchange
from lb.core.secured import Secured
from lb.errors import Reason
from lb.observe.failure_kind import Kind
from lb.observe.log_lines import LONGEST_KEPT
from lb.observe.told_exchanges import MOST_PASSED_OVER, Heard, Teller
from tests.core.scene import registry, spec
from tests.kit.classes import attributes

THERE, HERE = 512.0, 16.0
"""What turns the times of the two processes into those of the machine."""
NAMES = ("a", "b", "c")

moments = st.integers(0, 1 << 20).map(lambda sixtyfourths: 2048 + sixtyfourths / 64)
"""Times that stay exact when they are turned into others."""
maybe = st.none() | moments
texts = st.text(["a", "\xe9", "\ud800", "\udcff"], max_size=3)  # lone surrogates too
reasons = st.none() | st.sampled_from(Reason)
names = st.sampled_from(NAMES)
whys = st.lists(st.tuples(names, texts), max_size=2)
passed_over = st.builds(
    PassedOver, whys.map(tuple), whys.map(tuple), st.integers(0, 9), st.lists(names).map(tuple), st.just("")
) | st.just(NONE_PASSED_OVER)


def keeper(*ids: str) -> Registry:
    """A registry over there, whose backends are older than any exchange."""
    made = registry(lambda: 0.0)
    made.add_pool("default")
    for each in ids:
        made.add(spec(each))
    return made


SECURED = Secured("www.test", "TLSv1.3", "AES", True, None, None, False)


@st.composite
def attempts(draw: st.DrawFn) -> AttemptRecord:
    made = AttemptRecord(Backend(spec(draw(names)), "default", "test", 0.0), draw(passed_over), draw(moments))
    made.reused, made.is_beaten, made.reason = draw(st.booleans()), draw(st.booleans()), draw(reasons)
    made.connected, made.sent = draw(maybe), draw(maybe)
    made.first_byte, made.ended = draw(maybe), draw(maybe)
    return made


@st.composite
def records(draw: st.DrawFn) -> ExchangeRecord:
    made = ExchangeRecord(draw(st.binary(max_size=8)), "127.0.0.1:80", "192.0.2.1:5", draw(moments))
    made.client, made.ended, made.pool = draw(st.sampled_from(["::1", "x"])), draw(maybe), "default"
    made.method, made.target = draw(st.binary(max_size=8)), draw(st.binary(max_size=8))
    made.attempts = draw(st.lists(attempts(), max_size=2))
    made.leader = draw(st.sampled_from([None, *made.attempts]))
    made.passed_over = draw(passed_over)
    made.queued, made.gathered, made.held = draw(moments), draw(maybe), draw(st.integers(0, 1 << 40))
    made.status, made.reason, made.detail = draw(st.integers(0, 599)), draw(reasons), draw(texts)
    made.announced = draw(st.sampled_from([None, Announced("10.0.0.1:7", ("::1", 443), ((1, b"h2"),))]))
    made.request_bytes, made.response_bytes = draw(st.integers(0)) % 2**63, 7
    made.client_took, made.is_stream, made.usual = draw(moments), draw(st.booleans()), draw(maybe)
    made.secured = draw(st.sampled_from([None, SECURED, SECURED._replace(certificate=b"DER")]))
    return made


def facts(told: Any, clock: float) -> Any:
    """All that a record holds, with times on the machine's clock."""
    if isinstance(told, ExchangeRecord | AttemptRecord):
        times = ("started", "ended", "connected", "sent", "first_byte")
        return {
            name: value + clock if name in times and value is not None else facts(value, clock)
            for name, value in ((name, getattr(told, name)) for name in attributes(type(told)))
        }
    if isinstance(told, PassedOver):
        return [*told], len(told), [*told.tried]
    if isinstance(told, Backend):
        return told.id
    return [facts(each, clock) for each in told] if isinstance(told, list) else told


def told(*exchanges: ExchangeRecord, into: Registry | None = None) -> list[ExchangeRecord]:
    teller = Teller(THERE)
    for each in exchanges:
        teller.record(each)
    heard = Heard(teller.written(), into or keeper(*NAMES), HERE)
    return [heard.record(raw) for raw in heard.told.records]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(records(), max_size=2))
def test_a_record_is_the_same_over_there(exchanges: list[ExchangeRecord]) -> None:
    over_there = told(*exchanges)
    assert [facts(each, HERE) for each in over_there] == [facts(each, THERE) for each in exchanges]


def test_one_that_runs_is_the_same_over_there() -> None:
    moved = THERE - HERE
    teller = Teller(THERE)
    teller.either(running(1.5, 2.5, b"/" * 2 * LONGEST_KEPT))
    [heard] = Heard(teller.written(), keeper(), HERE).running()
    assert heard == running(1.5 + moved, 2.5 + moved, b"/" * LONGEST_KEPT)


def running(since: float, phase_since: float, target: bytes) -> RunningExchange:
    return RunningExchange(
        id=b"\xff",
        client="192.0.2.1:5",
        listener="127.0.0.1:80",
        method=b"GET",
        target=target,
        pool="default",
        backend=None,
        phase="queued",
        since=since,
        phase_since=phase_since,
        attempts=2,
        request_bytes=3,
        response_bytes=4,
    )


def test_kinds_are_told_with_their_counts() -> None:
    newest = record(b"1")
    kind = Kind(newest)
    teller = Teller(THERE)
    assert [*teller.kinds([(newest, 7, 8.0)])] == [None]
    [heard] = Heard(teller.written(), keeper(*NAMES), HERE).kinds()
    assert (heard.count, heard.first_ended, heard.newest.id) == (7, 8.0 + THERE - HERE, b"1")
    assert kind.count == 0


def record(
    exchange_id: bytes, backends: Sequence[str] = (), out: PassedOver = NONE_PASSED_OVER
) -> ExchangeRecord:
    made = ExchangeRecord(exchange_id, "127.0.0.1:80", "192.0.2.1:5", 100.0)
    made.attempts = [
        AttemptRecord(Backend(spec(each), "default", "test", 0.0), out, 100.0) for each in backends
    ]
    return made


def test_attempts_are_on_the_backends_of_over_there() -> None:
    there = keeper("a")
    [heard] = told(record(b"1", ["a", "gone", "gone"]), into=there)
    a, gone, again = [each.backend for each in heard.attempts]
    assert a is there.backends["a"]
    assert gone is again
    assert (gone.id, gone.removed) == ("gone", True)


@pytest.mark.parametrize(("added", "is_the_same"), [(99.0, True), (101.0, False)])
def test_a_backend_that_was_added_again_since_is_another_one(added: float, is_the_same: bool) -> None:
    there = registry(lambda: added + THERE - HERE)
    there.add_pool("default")
    there.add(spec("a"))
    [heard] = told(record(b"1", ["a"]), into=there)
    assert (heard.attempts[0].backend is there.backends["a"]) is is_the_same
    assert heard.attempts[0].backend.removed is not is_the_same


def test_what_all_records_share_is_told_once() -> None:
    out = PassedOver(tuple((f"b{number}", "draining") for number in range(3000)))
    teller = Teller(THERE)
    for _ in range(1000):
        teller.record(record(b"x" * 32, ["a"], PassedOver(out.out, kept="b7")))
    answer = teller.written()
    assert len(answer) < 250_000  # of which 60,000 are the names
    heard = Heard(answer, keeper(*NAMES), HERE)
    first, last = (heard.record(heard.told.records[place]) for place in (0, -1))
    assert len(first.attempts[0].passed_over) == 2999
    assert last.attempts[0].passed_over.out is first.attempts[0].passed_over.out


def test_of_too_many_that_were_passed_over_the_first_are_named_and_all_are_counted() -> None:
    each = MOST_PASSED_OVER // 2
    many = [PassedOver(tuple((f"b{number}", why) for number in range(each))) for why in "abcd"]
    heard = [one.attempts[0].passed_over for one in told(*(record(b"1", ["a"], out) for out in many))]
    assert [len(one) for one in heard] == [each] * 4
    assert [len([*one]) for one in heard] == [each, each, NAMED, NAMED]


def test_texts_from_outside_are_cut() -> None:
    long = record(b"1")
    long.method = long.target = b"x" * 8000
    long.detail = "y" * 8000
    [heard] = told(long)
    assert {len(heard.method), len(heard.target), len(heard.detail)} == {LONGEST_KEPT}


def test_an_answer_without_a_limit_says_so() -> None:
    heard = Heard(Teller(THERE).written(), keeper(), HERE)
    assert heard.whole_since == heard.remembered_since == float("-inf")
    assert msgspec.msgpack.decode(Teller(THERE).written())  # and it is plain msgpack
