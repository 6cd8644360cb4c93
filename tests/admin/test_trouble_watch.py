"""What is found to be wrong with a whole balancer, how it is told, and GET /trouble."""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from admin import late_loop
from admin import trouble_watch as module
from admin.event_publisher import EventPublisher
from admin.trouble_watch import LOOK_SECONDS, PAUSE_SECONDS, TroubleWatch
from lb.certificate_files.termination import Termination
from lb.config.config_source import ConfigSource
from lb.config.reload import Reloader
from lb.control import Control
from lb.core.discovery_view import NothingFound, SourceStanding
from lb.core.drain import Then
from lb.core.measures.histogram import Histogram
from lb.core.measures.rates import Point, Trend
from lb.core.trouble_kinds import CALM, THRESHOLDS
from lb.settings.balancer_settings import AdminConfig, Limits
from tests.admin.kit import Add, Api, FakeRunning, FakeWorkers, Hold
from tests.admin.resources.test_certificates import tls
from tests.kit.time import virtual_time

pytestmark = virtual_time
__all__ = ["tls"]

FILE = """listen = ["127.0.0.1:0"]
[[pools.default.backends]]
url = "http://127.0.0.1:1"
"""


async def looks(control: Control, count: int = 4) -> None:
    """So many looks, each when it is due."""
    watch = TroubleWatch(control)
    for _ in range(count):
        with capture_logs():
            await watch.look()
        await trio.sleep(LOOK_SECONDS)


async def sentences(api: Api) -> list[str]:
    answer = await api("GET", "/trouble")
    assert answer.status == 200
    return [each["sentence"] for each in answer.json["items"]]


async def test_where_nothing_is_wrong_it_says_so(api: Api, control: Control, add: Add) -> None:
    add("web1")
    await looks(control)
    assert (await api("GET", "/trouble")).json == {"summary": "nothing is wrong", "items": []}
    assert (await api("GET", "/stats")).json["trouble"] == []


async def test_each_says_since_when_and_what_to_do(api: Api, control: Control, add: Add) -> None:
    control.registry.maintenance(add("web1"))
    await looks(control, 3)
    [one] = (await api("GET", "/trouble")).json["items"]
    assert (one["kind"], one["pool"], one["backend"]) == ("nobody", "default", None)
    assert one["sentence"] == "nobody has taken requests of pool default for 6 s: 1 maintenance"
    assert one["advice"].startswith("Bring one back: `lb backends ready ID`")
    assert one["since"].startswith("2027-01-15T08:00:00.0")
    assert one["seconds"] == pytest.approx(6.0, abs=0.1), "work in slices rests for real milliseconds"
    table = await api("GET", "/trouble?format=table")
    assert table.body.splitlines()[0].split() == [b"SINCE", b"KIND", b"WHAT", b"NEXT"]
    [told] = (await api("GET", "/stats")).json["trouble"]
    assert told == {**one, "seconds": told["seconds"]}


async def test_it_begins_and_ends_with_an_event_and_a_line_each(control: Control, add: Add) -> None:
    backend = add("web1")
    control.registry.maintenance(backend)
    watch = TroubleWatch(control)
    with capture_logs() as logs:
        for _ in range(3):
            await watch.look()
            await trio.sleep(LOOK_SECONDS)
        control.registry.ready(backend)
        await trio.sleep(LOOK_SECONDS)
        await watch.look()
    events: list[Any] = [
        msgspec.json.decode(frame.body) for frame in control.feed.newest(frozenset({"trouble"}), 9)
    ]
    assert [event["kind"] for event in reversed(events)] == ["trouble", "trouble over"]
    assert events[0]["detail"] == "after 8 s: nobody took requests of pool default"
    assert {"pool", "backend"} & {*events[0]} == {"pool"}
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("trouble", "warning"),
        ("trouble over", "info"),
    ]


async def test_looks_have_their_pace(control: Control, add: Add) -> None:
    control.registry.maintenance(add("web1"))
    watch = TroubleWatch(control)
    with capture_logs():
        for _ in range(int(LOOK_SECONDS) + 1):
            await watch.look()
            assert control.troubles.current() == []
            await trio.sleep(0.5)


async def test_a_mistake_in_the_file_is_trouble_until_it_is_mended(
    api: Api, control: Control, tmp_path: Path
) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(FILE)
    control.reload = Reloader(ConfigSource(file, {}), control, lambda _config, _routes: None)
    control.wall = lambda _moment: time.time()  # by which files are changed
    watch = TroubleWatch(control)

    async def look() -> list[str]:
        await trio.sleep(CALM)
        with capture_logs():
            await watch.look()
        return await sentences(api)

    assert await look() == []
    file.write_text("listn = []\n" + FILE)
    assert await look() == []  # it may be half written
    [words] = await look()
    assert words.startswith(
        "the file of the configuration has a mistake, and a restart would fail: line 1: listn: "
    )
    file.unlink()
    [words] = await look()
    assert "cannot be read" in words
    file.write_text(FILE)
    assert await look() == []
    file.write_text("listn = []\n" + FILE)
    control.wall = lambda _moment: time.time() + 2.5
    [words] = await look()  # it has stood there for a while
    assert "listn" in words


def tokens_of(control: Control, file: Path) -> None:
    control.config = msgspec.structs.replace(control.config, admin=AdminConfig(tokens_file=str(file)))


async def test_a_mistake_in_the_tokens_is_trouble_until_it_is_mended(
    api: Api, control: Control, tmp_path: Path
) -> None:
    """With a file of the configuration, which names the tokens too, it is told once all the same."""
    tokens, file = tmp_path / "tokens", tmp_path / "lb.toml"
    tokens.touch(0o600)
    tokens.write_text("ann read secret\n")
    file.write_text(f'admin.tokens_file = "{tokens}"\n{FILE}')
    tokens_of(control, tokens)
    control.reload = Reloader(ConfigSource(file, {}), control, lambda _config, _routes: None)
    watch = TroubleWatch(control)

    async def look() -> list[str]:
        for _ in range(2):
            await trio.sleep(LOOK_SECONDS)
            with capture_logs():
                await watch.look()
        return await sentences(api)

    assert await look() == []
    tokens.write_text("ann reads secret\n")
    [words] = await look()
    assert words.startswith(
        "the file of tokens has a mistake, so the former tokens hold, and a restart would"
    )
    assert "line 1: the scope is one of" in words
    tokens.write_text("ann read secret\n")
    assert await look() == []


async def test_a_mistake_in_the_tokens_is_found_without_a_file_of_the_configuration(
    api: Api, control: Control, tmp_path: Path
) -> None:
    tokens_of(control, tmp_path / "none")
    await looks(control, 2)
    [words] = await sentences(api)
    assert words.startswith("the file of tokens has a mistake")


def usually(control: Control, seconds: float) -> None:
    """The answers of pool default have taken so long."""
    trend = control.sampler.pools.setdefault("default", Trend())
    trend.points.append(Point(9.0, 0.0, seconds, seconds, 0, 1, 1))


async def test_requests_that_hang_are_told_with_what_is_usual(
    api: Api, control: Control, add: Add, runs: FakeRunning
) -> None:
    add("web1")
    usually(control, 0.011)
    for number, waited in enumerate((3.5, 4.0, 6.0)):  # far from the 5 s that are too long
        runs.begin(f"{number}" * 32, phase_since=runs.started - waited)
    await looks(control, 1)
    [one] = (await api("GET", "/trouble")).json["items"]
    assert one["sentence"] == ("1 request has waited on web1 for 8 s: answers of the pool usually take 11 ms")
    assert (one["kind"], one["pool"], one["backend"]) == ("waiting", "default", "web1")
    assert one["advice"] == "`lb why --running` shows them."
    await looks(control, 1)
    assert (await sentences(api))[0].startswith("3 requests have waited on web1 for 10 s: ")
    runs.exchanges.clear()
    await looks(control, 1)
    assert await sentences(api) == []


@pytest.mark.parametrize(
    ("usual", "waited", "is_told"),
    [(None, 9.9, False), (None, 10.1, True), (0.011, 4.9, False), (1.0, 9.9, False), (1.0, 10.1, True)],
    ids=str,
)
async def test_requests_wait_for_as_long_as_is_usual(
    control: Control, add: Add, runs: FakeRunning, usual: float | None, waited: float, is_told: bool
) -> None:
    add("web1")
    if usual is not None:
        usually(control, usual)
    runs.begin("a" * 32, phase_since=trio.current_time() - waited)
    await looks(control, 1)
    assert [each.found.kind for each in control.troubles.current()] == ["waiting"] * is_told


@pytest.mark.parametrize(
    "phase", ["receiving body", "queued", "connecting", "sending request", "sending response", "tunnel"]
)
async def test_streams_tunnels_and_uploads_do_not_hang(
    control: Control, add: Add, runs: FakeRunning, phase: str
) -> None:
    add("web1")
    runs.begin("a" * 32, phase=phase, phase_since=trio.current_time() - 1000)
    await looks(control, 1)
    assert control.troubles.current() == []


async def test_a_bug_in_a_rule_is_logged_and_nobody_looks_for_a_while(
    control: Control, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    control.registry.maintenance(add("web1"))
    watch = TroubleWatch(control)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(module, "of_pool", broken)
        await watch.look()
        await trio.sleep(LOOK_SECONDS)
        await watch.look()
    assert [line["event"] for line in logs] == ["bug while looking for trouble"]
    for _ in range(2):
        await trio.sleep(PAUSE_SECONDS)
        with capture_logs():
            await watch.look()
    assert [each.found.kind for each in control.troubles.current()] == ["nobody"]


async def test_a_drain_that_lasts_names_whom_it_waits_for(
    api: Api, control: Control, add: Add, hold: Hold, runs: FakeRunning
) -> None:
    backend = add("web1")
    add("web2")
    hold(backend)
    runs.begin("a" * 32, "web1")
    control.registry.drain(backend, None, Then.KEEP)
    await looks(control, 1)
    assert await sentences(api) == []
    await trio.sleep(THRESHOLDS["drain"].seconds)
    await looks(control, 1)
    words = (await sentences(api))[-1]
    assert words.startswith("the drain of web1 has waited for 1 request for 34 s: the longest is GET ")


async def test_full_places_name_the_address_that_has_most(api: Api, control: Control) -> None:
    control.config = msgspec.structs.replace(control.config, limits=Limits(connections=10))
    control.metrics.listener("127.0.0.1:8080").open = 10
    control.metrics.addresses.update({"192.0.2.1": 9, "192.0.2.2": 1})
    control.metrics.full_since = trio.current_time()
    await looks(control, 2)
    assert await sentences(api) == [
        "all 10 places for clients have been taken for 4 s: 192.0.2.1 holds 90% of them"
    ]
    control.metrics.full_since = None
    control.metrics.addresses["192.0.2.1"] = 5
    await looks(control, 4)
    assert await sentences(api) == []


async def test_one_address_may_hold_most_while_few_are_taken(api: Api, control: Control) -> None:
    control.config = msgspec.structs.replace(control.config, limits=Limits(connections=100))
    control.metrics.listener("127.0.0.1:8080").open = 10
    control.metrics.addresses.update({"192.0.2.1": 9, "192.0.2.2": 1})
    await looks(control)
    assert await sentences(api) == []


async def test_a_worker_that_is_silent_is_named(api: Api, control: Control, crew: FakeWorkers) -> None:
    await looks(control)
    [words] = await sentences(api)
    assert words.startswith("worker 2 has not answered for ")


async def test_a_source_that_fails_or_is_not_followed_is_named(
    api: Api, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing = SourceStanding(
        pool="web",
        name="dns",
        kind="dns",
        where="http://web.test",
        good_at=None,
        well_since=None,
        next_at=None,
        error="web.test: SERVFAIL from 10.0.0.2",
        here=2,
        missing={},
        held={"web1": "the source names nobody"},
        shadowed={},
        waiting={},
        hidden=(),
        skipped=(),
        results=Counter(),
        changes=Counter(),
        applications=Histogram(),
    )
    monkeypatch.setattr(control, "discovery", Found([standing]))
    await looks(control, 8)
    assert await sentences(api) == [
        "source dns of pool web has failed for 16 s: web.test: SERVFAIL from 10.0.0.2",
        "source dns of pool web has not named 1 backend that may still be used for 16 s:"
        " the source names nobody",
    ]


class Found(NothingFound):
    """Sources that stand like this."""

    def __init__(self, standings: Sequence[SourceStanding]) -> None:
        self._standings = standings

    def standings(self, pool: str | None = None) -> Sequence[SourceStanding]:
        return self._standings


async def is_late(control: Control) -> None:
    """Each look but the first finds that the loop was late since the one before."""
    watch = TroubleWatch(control)
    for _ in range(5):
        with capture_logs():
            await watch.look()
        for _ in range(20):
            control.metrics.loop_lag(0.3)
        await trio.sleep(LOOK_SECONDS)


async def test_a_loop_that_is_late_is_told_while_it_is(
    api: Api, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_loop, "_times", lambda _pid: None)  # as where the kernel does not count
    await is_late(control)
    [words] = await sentences(api)
    assert words.startswith("the event loop has been late by ")
    assert words.endswith(": this process has more to do than one core can")


async def test_a_loop_is_late_because_other_programs_have_the_cores(
    api: Api, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel counts: each two seconds it runs for one, and is ready to run for one and a half."""
    times = (((look + 1) * 1_000_000_000, look * 1_500_000_000) for look in count())
    monkeypatch.setattr(late_loop, "_times", lambda _pid: next(times))
    await is_late(control)
    [words] = await sentences(api)
    assert words.endswith(": other programs have the cores for 60% of the time that it wants one")


async def test_a_certificate_near_its_end_is_named(api: Api, control: Control, tls: Termination) -> None:
    await looks(control, 1)
    [one] = (await api("GET", "/trouble")).json["items"]
    assert (one["kind"], one["sentence"]) == ("certificate", "the certificate of www.test ends in 24 h")


async def test_the_publisher_looks(control: Control, add: Add) -> None:
    control.registry.maintenance(add("web1"))
    with capture_logs():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(EventPublisher(control).run)
            await trio.sleep(3 * LOOK_SECONDS)
            nursery.cancel_scope.cancel()
    assert [each.found.kind for each in control.troubles.current()] == ["nobody"]


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (8, 5)])
async def test_the_page_shows_the_gravest(
    api: Api, control: Control, add: Add, count: int, shown: int
) -> None:
    for number in range(count):
        control.registry.add_pool(f"p{number}")
        control.registry.maintenance(add(f"web{number}", pool=f"p{number}"))
    await looks(control, 2)
    answer = await api("GET", "/", headers={"Accept": "text/html"})
    strip = answer.body.decode().partition('id="troubles"')[2].partition("</section>")[0]
    assert strip.count("nobody has taken requests of pool p") == shown
    assert ("3 more: GET /trouble" in strip) is (count == 8)
