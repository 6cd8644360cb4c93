"""The keeper on virtual time: when sources are asked, and when what they say is applied."""

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from lb.config.loader import build
from lb.errors import ConfigError
from tests.discovery.scripted_source import config, keeping

Clock = trio.testing.MockClock


async def _settled() -> None:
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(0.01)


async def test_the_first_set_is_applied_at_once_and_then_one_in_a_second(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        began = trio.current_time()
        kept["dns"].says("a")
        await _settled()
        for word in "bcd":
            kept["dns"].says("a", word)
            await trio.sleep(0.1)
        await trio.sleep(5)
        times = {name: at - began for at, kind, name in kept.events if kind == "added"}
        assert [*times] == ["a", "d"]
        assert times["a"] < 0.1
        assert times["d"] == pytest.approx(1.0, abs=0.2)


async def test_a_failure_changes_nothing_and_the_source_is_asked_again(
    autojump_clock: Clock,
) -> None:
    async with keeping(config(dns=None)) as kept:
        script = kept["dns"]
        script.says("a", "b")
        await _settled()
        kept.events.clear()
        script.fails_at_once = "nobody answers"
        script.fails()
        await trio.sleep(600)
        assert kept.events == []
        assert kept.there == {"a": "here", "b": "here"}
        pauses = [later - at for at, later in zip(script.runs[1:], script.runs[2:], strict=False)]
        assert pauses[:3] == pytest.approx([1.0, 1.0, 1.0])
        [standing] = kept.discovery.standings("web")
        assert (standing.well_since, standing.error) == (None, "nobody answers")
        assert kept.pool_events.count(("stale", "dns: it was said to fail")) == 1


async def test_it_is_told_once_that_a_source_fails_and_once_that_it_is_well(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says("a")
        await _settled()
        kept["dns"].fails()
        await trio.sleep(3)
        kept["dns"].says("a")
        await _settled()
        assert [kind for kind, _ in kept.pool_events if kind in ("stale", "fresh")] == ["stale", "fresh"]


async def test_what_is_missing_leaves_when_its_grace_ends_without_another_word(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says("a", "b")
        await trio.sleep(2)
        kept["dns"].says("a")
        await trio.sleep(29.9)
        assert kept.there == {"a": "here", "b": "missing"}
        assert kept.discovery.missing_since("web", "dns", "b") is not None
        await trio.sleep(0.2)
        assert kept.there == {"a": "here"}


async def test_the_first_look_waits_until_the_first_set_is_applied(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.discovery.first)
            await trio.sleep(1)
            assert nursery.child_tasks
            kept["dns"].says("a")
        assert kept.there == {"a": "here"}


async def test_the_first_look_waits_no_longer_than_first(autojump_clock: Clock) -> None:
    async with keeping(config(dns={"first": "7s"}, other={"first": "2s"})) as kept:
        began = trio.current_time()
        await kept.discovery.first()
        assert trio.current_time() - began == 7.0


async def test_refresh_asks_at_once_and_is_no_failure(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        script = kept["dns"]
        script.says("a")
        await _settled()
        before = kept.discovery.standings("web")[0].well_since
        assert kept.discovery.refresh("web") == 1
        await _settled()
        assert len(script.runs) == 2
        assert script.ended == 1
        assert kept.discovery.standings("web")[0].well_since == before
        assert kept.discovery.refresh("none") == 0


async def test_refresh_ends_the_pause_after_a_failure(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        script = kept["dns"]
        script.fails()
        await _settled()
        kept.discovery.refresh("web")
        await _settled()
        assert len(script.runs) == 2


async def test_what_is_held_is_told_and_may_be_accepted(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says(*"abcdefghij")
        await trio.sleep(2)
        kept["dns"].says("a")
        await trio.sleep(40)
        [standing] = kept.discovery.standings("web")
        assert len(standing.held) == 4
        assert [kind for kind, _ in kept.pool_events][-1] == "held"
        assert len(kept.discovery.accept("web").backends) == 4
        await trio.sleep(2)
        assert kept.there == {"a": "here"}
        assert [kind for kind, _ in kept.pool_events][-1] == "followed"
        assert kept.discovery.accept("web") == ([], [])


async def test_who_was_removed_while_the_source_fails_is_neither_held_nor_missed(
    autojump_clock: Clock,
) -> None:
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says("a", "b")
        await trio.sleep(2)
        kept["dns"].says()
        await trio.sleep(40)
        kept["dns"].fails()
        await trio.testing.wait_all_tasks_blocked()
        kept.registry.remove(kept.registry.backends["a"])
        [standing] = kept.discovery.standings("web")
        assert (set(standing.held), set(standing.missing)) == ({"b"}, {"b"})
        assert kept.discovery.accept("web").backends == ["b"]


async def test_a_source_that_is_another_one_is_accepted_and_asked_at_once(autojump_clock: Clock) -> None:
    """What is held is not: it was held against what the source said before."""
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says(*"abcdefghij")
        await trio.sleep(2)
        kept["dns"].says()
        await trio.sleep(40)
        kept["dns"].is_another = True
        kept["dns"].fails()
        await trio.testing.wait_all_tasks_blocked()
        assert kept.discovery.accept("web") == ([], ["dns"])
        await trio.testing.wait_all_tasks_blocked()
        assert kept["dns"].runs[-1] == trio.current_time()
        assert len(kept.there) == 10
        kept["dns"].says()
        await trio.sleep(40)
        assert len(kept.discovery.accept("web").backends) == 10


async def test_another_source_takes_over_what_the_first_does_not_name_any_more(autojump_clock: Clock) -> None:
    async with keeping(config(first=None, second=None)) as kept:
        kept["first"].says("a", "b")
        await _settled()
        kept["second"].says("a")
        await trio.sleep(2)
        kept["first"].says("b")
        await trio.sleep(3)
        assert kept.registry.backends["a"].source == "second"
        await trio.sleep(60)
        assert kept.there == {"a": "here", "b": "here"}


async def test_what_an_operator_added_and_removes_the_source_has_from_then_on(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says("a", "b")
        await _settled()
        kept.registry.remove(kept.registry.backends["b"])
        await trio.sleep(5)
        assert kept.there == {"a": "here"}
        spec = kept.registry.backends["a"].spec
        kept.registry.add(replace(spec, id="own"), "web")
        kept["dns"].says("a", "own")
        await trio.sleep(2)
        assert kept.registry.backends["own"].source == "api"
        kept.registry.remove(kept.registry.backends["own"])
        await trio.sleep(2)
        assert kept.registry.backends["own"].source == "dns"


async def test_a_reload_brings_changes_and_takes_sources(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says("a")
        await _settled()
        kept.configure(config(dns=None, more=None))
        await _settled()
        assert len(kept["dns"].runs) == 1
        kept["more"].says("b")
        await trio.sleep(2)
        assert kept.there == {"a": "here", "b": "here"}
        kept.configure(config(dns={"grace": "5s"}, more=None))
        await _settled()
        assert len(kept["dns"].runs) == 2
        assert kept.there == {"a": "here", "b": "here"}
        kept.configure(config(dns={"grace": "5s"}))
        await trio.sleep(2)
        assert kept.there == {"a": "here"}
        assert kept["more"].ended == 1


async def test_a_bug_of_a_source_is_a_failure_of_it_alone(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(config(dns=None, other=None)) as kept:
        kept["other"].says("b")
        kept["dns"].says("a")

        async def buggy(_tell: object) -> None:
            raise ExceptionGroup("a group", [KeyError("oops")])

        monkeypatch.setattr(kept["dns"], "run", buggy)
        kept.discovery.refresh("web")
        await trio.sleep(2)
        assert "oops" in kept.discovery.standings("web")[0].error
        assert kept.there == {"a": "here", "b": "here"}


async def test_ten_minutes_of_silence_errors_and_empty_answers_lose_nobody_with_keep_of_one(
    autojump_clock: Clock,
) -> None:
    async with keeping(config(dns={"keep": 1.0})) as kept:
        script = kept["dns"]
        script.says(*"abcde")
        await trio.sleep(2)
        for turn in range(20):
            if turn % 2:
                script.fails()
            else:
                script.says()
            await trio.sleep(30)
        assert len([each for each in kept.registry.backends.values() if each.is_open]) == 5


async def test_a_pool_is_promised_until_its_source_may_say_nobody(
    autojump_clock: Clock,
) -> None:
    async with keeping(config(dns={"keep": 0.0})) as kept:
        assert kept.discovery.is_promised("web")
        kept["dns"].says()
        assert not kept.discovery.is_promised("web")
    async with keeping(config(dns=None)) as kept:
        kept["dns"].says()
        assert kept.discovery.is_promised("web")


async def test_a_set_waits_for_its_turn(autojump_clock: Clock) -> None:
    async with keeping(config(dns=None)) as kept:
        async with kept.lock:
            kept["dns"].says("a")
            await trio.sleep(10)
            assert kept.there == {}
        await _settled()
        assert kept.there == {"a": "here"}


def test_two_sources_of_a_pool_need_two_names() -> None:
    with pytest.raises(
        ConfigError,
        match=r"the second of pools\.web\.discover: name: 'files' is the name of the first of .* too",
    ):
        build({"pools": {"web": {"discover": [{"files": "x"}, {"files": "y"}]}}})
