"""What is found to be wrong, and who is named for it; and that nothing is found where nothing is wrong."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from lb.core.drain import Then
from lb.core.measures.rates import Rates
from lb.core.running_exchange import Waits
from lb.core.trouble_kinds import THRESHOLDS, Found
from lb.core.trouble_rules import Survey, of_pool, of_waits, patience, percent, took
from lb.settings.pool_settings import Ejection, Probe
from lb.slices import at_once
from tests.core.scene import Request, Scene, check, spec

WELL = Rates(ended=300, requests_per_second=30.0, p50_seconds=0.03, p90_seconds=0.05, p99_seconds=0.09)
QUIET = Rates()


def scene(count: int = 3, **settings: Any) -> Scene:
    return Scene(*(spec(f"web{number}") for number in range(1, count + 1)), **settings)


def found(it: Scene, rates: Mapping[str, Rates], clients: Rates = WELL) -> list[Found]:
    """What is wrong with the pool; backends that are not named are well."""
    survey = Survey()
    for backend in it.pool.backends:
        survey.see(backend, rates.get(backend.id, WELL))
    return at_once(of_pool(it.pool, survey, clients))


def changed(**fields: object) -> Rates:
    values = {name: getattr(WELL, name) for name in WELL.__struct_fields__}
    return Rates(**{**values, **fields})


def only(it: Scene, rates: Mapping[str, Rates], clients: Rates = WELL) -> Found:
    [one] = found(it, rates, clients)
    return one


def test_where_all_are_well_nothing_is_found() -> None:
    assert found(scene(), {}) == []


def test_who_fails_more_often_than_the_others_is_named_with_both_numbers() -> None:
    one = only(scene(), {"web3": changed(share_5xx=0.07)})
    assert (one.kind, one.backend, one.pool) == ("errors", "web3", "default")
    assert one.what.now == "web3 answers 5xx to 7% of its requests (the others 0%)"


def test_who_does_not_answer_fails() -> None:
    one = only(scene(), {"web3": changed(share_failed=0.07)})
    assert one.what.now == "web3 fails 7% of its requests (the others 0%)"


def test_who_is_slow_and_fails_is_named_once() -> None:
    one = only(scene(), {"web3": changed(share_5xx=0.07, p50_seconds=0.39)})
    assert one.kind == "errors"
    assert one.what.now.endswith("(the others 0%) and takes 390 ms (the others 30 ms)")


def test_who_is_slow_alone() -> None:
    one = only(scene(), {"web1": changed(p50_seconds=0.39)})
    assert (one.kind, one.what.now) == ("slow", "web1 takes 390 ms (the others 30 ms)")


def test_of_who_is_out_already_nothing_is_asked() -> None:
    """A drain was the advice; what it did before is in the rates for some seconds yet."""
    it = scene()
    it.registry.drain(it["web1"], None)
    assert found(it, {"web1": changed(share_5xx=0.07, p50_seconds=0.39)}) == []


def test_of_two_the_other_one_is_the_measure() -> None:
    assert only(scene(2), {"web1": changed(p50_seconds=0.39)}).backend == "web1"


def test_a_long_tail_is_found_of_many_requests_only() -> None:
    tail = {"p99_seconds": 2.0}
    assert only(scene(), {"web2": changed(**tail)}).kind == "slow tail"
    assert found(scene(), {"web2": changed(**tail, ended=THRESHOLDS["slow tail"].least_requests - 1)}) == []


@pytest.mark.parametrize(
    "rates",
    [
        changed(share_5xx=0.019),
        changed(share_5xx=0.4, ended=12),
        changed(p50_seconds=0.079),
        changed(p50_seconds=0.5, ended=19),
    ],
    ids=["below the share", "few failures", "not so much more", "few requests"],
)
def test_below_a_threshold_nothing_is_found(rates: Rates) -> None:
    assert found(scene(), {"web3": rates}) == []


def test_quick_backends_of_which_one_is_three_times_as_slow_are_no_trouble() -> None:
    quick = changed(p50_seconds=0.001)
    assert found(scene(), {"web1": quick, "web2": quick, "web3": changed(p50_seconds=0.01)}) == []


def test_where_all_fail_alike_the_pool_is_named() -> None:
    failing = changed(share_5xx=0.2)
    one = only(scene(), dict.fromkeys(("web1", "web2", "web3"), failing), failing)
    assert (one.kind, one.subject) == ("pool errors", "default")
    assert one.what.now == "clients of pool default get 5xx for 20% of their requests"


def test_a_backend_alone_is_compared_with_nobody() -> None:
    slow = changed(p50_seconds=3.0)
    assert found(scene(1), {"web1": slow}) == []
    assert only(scene(1), {"web1": changed(share_5xx=0.5)}, changed(share_5xx=0.5)).kind == "pool errors"


def test_who_is_down_is_named_with_why_and_since_when() -> None:
    it = scene(probe=Probe(path="/", rise=1, fall=1))
    for name in ("web1", "web2", "web3"):
        check(it, name, True)
    it.clock.now += 5
    check(it, "web2", False)
    one = only(it, {"web2": QUIET})
    assert (one.kind, one.what.now, one.since) == ("down", "web2 is down", it.clock.now)
    assert "refused" in one.why


def test_one_that_an_operator_has_taken_out_is_no_trouble() -> None:
    it = scene(probe=Probe(path="/", rise=1, fall=1))
    for name in ("web1", "web2", "web3"):
        check(it, name, name != "web2")
    it.registry.drain(it["web2"], None)
    assert found(it, {}) == []


def test_who_is_ejected_and_on_trial_is_one_trouble() -> None:
    it = scene(ejection=Ejection(consecutive=1))
    why = f"web2 at {it['web2'].spec.url}: connection refused"
    it.pool.failed(it["web2"], why, 0.1, it.clock.now)
    before = only(it, {"web2": QUIET})
    assert (before.what.now, before.why) == ("web2 is ejected", "connection refused")
    it.clock.now += 60
    it.registry.expire(it.clock.now)
    after = only(it, {"web2": QUIET})
    assert after.what.now == "web2 is on trial"
    assert (before.kind, before.subject) == (after.kind, after.subject)


def test_a_pool_where_nobody_takes_requests() -> None:
    it = scene(2)
    it.registry.maintenance(it["web1"])
    it.registry.drain(it["web2"], None, Then.KEEP)
    one = only(it, {})
    assert (one.kind, one.what.now) == ("nobody", "nobody takes requests of pool default")
    assert one.why == "1 maintenance, 1 drained"


def test_who_is_in_maintenance_is_brought_back_by_a_command_and_who_is_down_by_starting_it() -> None:
    it = scene(2)
    it.registry.maintenance(it["web1"])
    it.registry.maintenance(it["web2"])
    assert only(it, {}).advice == "Bring one back: `lb backends ready ID`. Add one: `lb backends add URL`."
    it = scene(2, probe=Probe(fall=1, interval=2.0, changing_interval=0.5, jitter=0, timeout=1))
    for name in ("web1", "web2"):
        check(it, name, False)
    [nobody] = [each for each in found(it, {}) if each.kind == "nobody"]
    start = "Start one of the servers; the probes take it back within 4 s."
    assert nobody.advice == f"{start} Add one: `lb backends add URL`."
    it = scene(2, ejection=Ejection(consecutive=1, share=1.0), panic=0)
    for name in ("web1", "web2"):
        it.pool.failed(it[name], "connection refused", 0.1, it.clock.now)
    [nobody] = [each for each in found(it, {}) if each.kind == "nobody"]
    assert nobody.advice.startswith("Who is ejected is tried again by itself; `lb why` explains")


def test_an_empty_pool_is_trouble_once_somebody_asks_for_it() -> None:
    it = scene(0)
    assert found(it, {}, QUIET) == []
    assert only(it, {}, changed(share_5xx=1.0)).why == "it has no backend"
    it.pool.name = "api"
    assert only(it, {}, changed(share_5xx=1.0)).advice == "Add one: `lb backends add URL --pool api`."


def test_who_waits_is_told_of_with_those_that_are_full() -> None:
    it = Scene(spec("web1", cap=1), spec("web2", cap=1))
    it.occupy("web1")
    it.occupy("web2")
    it.pool.queue(Request(), (), lambda: None)
    one = only(it, {})
    assert one.what.now == "1 request of pool default waits for a place"
    assert one.why == "web1 and web2 are full"


def test_a_full_pool_is_named_itself() -> None:
    it = scene(2, max_in_flight=1)
    it.occupy("web1")
    it.pool.queue(Request(), (), lambda: None)
    assert only(it, {}).why == "the pool has all of its 1 in use"


@pytest.mark.parametrize(
    ("rates", "now", "lasted", "was"),
    [
        ({"share_5xx": 0.07}, "answers 5xx to", "has answered 5xx to", "answered 5xx to"),
        ({"share_failed": 0.07}, "fails 7%", "has failed 7%", "failed 7%"),
        ({"p50_seconds": 0.39}, "takes 390 ms", "has taken 390 ms", "took 390 ms"),
        ({"p99_seconds": 2.0}, "needs up to 2 s", "has needed up to 2 s", "needed up to 2 s"),
        (
            {"p99_seconds": 30.0},
            "needs more than 30 s (p99",
            "has needed more than 30 s (p99",
            "needed more than 30 s (p99",
        ),
    ],
    ids=["5xx", "fails", "slow", "tail", "beyond"],
)
def test_each_deed_is_told_in_its_tenses(rates: dict[str, float], now: str, lasted: str, was: str) -> None:
    told = only(scene(), {"web3": changed(**rates)}).what
    assert told.now.startswith(f"web3 {now}")
    assert told.lasted.startswith(f"web3 {lasted}")
    assert told.was.startswith(f"web3 {was}")


def test_both_deeds_of_one_are_told_in_the_same_tense() -> None:
    told = only(scene(), {"web3": changed(share_5xx=0.07, p50_seconds=0.39)}).what
    assert told.lasted == (
        "web3 has answered 5xx to 7% of its requests (the others 0%) and has taken 390 ms (the others 30 ms)"
    )
    assert told.was.endswith(" and took 390 ms (the others 30 ms)")


def test_who_waits_for_a_response_is_told_with_what_is_usual() -> None:
    known, unknown = of_waits(
        [Waits("default", "web2", 4, 25.0), Waits("other", "b", 1, 12.0)], {"default": 0.011}, 100.0
    )
    assert known.what.lasted == "4 requests have waited on web2"
    assert (known.kind, known.pool, known.backend, known.since) == ("waiting", "default", "web2", 75.0)
    assert known.why == "answers of the pool usually take 11 ms"
    assert (unknown.what.now, unknown.why) == ("1 request waits on b", "")


@pytest.mark.parametrize(("usual", "seconds"), [(None, 10.0), (0.011, 5.0), (30.0, 300.0)], ids=str)
def test_the_patience_with_a_pool_is_ten_times_what_is_usual(usual: float | None, seconds: float) -> None:
    assert patience(usual) == seconds


def test_two_hundred_healthy_ones_under_load_are_never_found() -> None:
    """Many looks, each with its own chance; also a few failures are among them."""
    it, chance = scene(200), random.Random(7)
    for _ in range(100):
        rates = {}
        for backend in it.pool.backends:
            ended = chance.randrange(5, 400)
            failed = sum(chance.random() < 0.002 for _ in range(ended))
            half = chance.lognormvariate(0, 0.25) * 0.03
            rates[backend.id] = Rates(
                ended, ended / 10, 0.0, failed / ended, 0.0, half, 2 * half, half * chance.uniform(3, 12)
            )
        assert found(it, rates, changed(share_5xx=0.002)) == []


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0%"), (0.004, "0.4%"), (0.07, "7%"), (1.0, "100%")], ids=str
)
def test_shares_for_people(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0318, "31.8 ms"), (0.39, "390 ms"), (2.5, "2.5 s")], ids=str
)
def test_times_for_people(seconds: float, words: str) -> None:
    assert took(seconds) == words
