"""One of three backends fails in every way there is, under load: no client of an idempotent request sees it.

The three can take 18 requests at a time. 15 clients ask without a pause, so that about 14 requests, or three
quarters, are on the backends; two can take 12, so when one is out somebody always waits. All times are a
fraction of the defaults (`QUICK`), so that an outage takes about a second.
"""

import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.system.program import Program, program, until
from tests.system.sick import Books, Patient, patients

NAMES = ("web1", "web2", "web3")
CAP = 6
GETTING = 14
"""Clients that GET; one that POSTs is beside them."""
in_workers = pytest.mark.parametrize("workers", [1, 2])
SECONDS = 40.0
"""Until a wait for something that must come is given up."""

QUICK = ("timeouts.response_head=1s", "pools.default.ejection.base=1s")
UNHURRIED = "pools.default.ejection.base=3s"
"""Until the trial even a busy machine has done what a test does meanwhile."""
PROBED = (
    "pools.default.probe.interval=200ms",
    "pools.default.probe.changing_interval=100ms",
    "pools.default.probe.timeout=400ms",
)
OUTCOMES = ("ejected", "trial", "admitted")
VERDICTS = ("down", "up")


class Ward:
    """The program in front of three backends, of which the first is the one that falls ill, under load."""

    def __init__(self, lb: Program, beds: list[Patient], books: Books) -> None:
        self.lb = lb
        self.beds = beds
        self.patient = beds[0]
        self.books = books

    # -- what the log tells ----------------------------------------------------------------------------

    def flips(self) -> Iterator[tuple[str, str, str]]:
        """Backend, what became of it and why, in the order of the program's log."""
        for line in self.lb.said.rpartition(b"\n")[0].splitlines():
            if line.startswith(b"{"):
                told = json.loads(line)
                subject, _, kind = told["event"].partition(" ")
                if subject == "backend" and kind in OUTCOMES + VERDICTS:
                    yield told["backend"], kind, told["detail"]
                elif told["level"] != "info" and told["event"] != "trouble":
                    raise AssertionError(told)

    def story(self, kinds: tuple[str, ...]) -> list[str]:
        """Those flips of the patient's that are of one kind: outcomes or verdicts."""
        return [kind for id, kind, _ in self.flips() if id == self.patient.name and kind in kinds]

    async def tells(self, kind: str, times: int = 1) -> None:
        """Wait until the log says this of the patient."""

        async def is_told() -> bool:
            return [told for _, told, _ in self.flips()].count(kind) >= times

        await until(is_told, SECONDS)

    async def is_admitted(self) -> bool:
        return self.story(OUTCOMES)[-1] == "admitted"

    # -- what clients see ------------------------------------------------------------------------------

    async def goes_on_without_it(self) -> None:
        """The two others serve everybody; they are full, so somebody waits."""
        await self.books.grow(100, NAMES[1:])
        assert await self.metric("lb_queue_wait_seconds_count") > 0

    async def is_served_by_it(self) -> None:
        await self.books.grow(20, NAMES[:1])

    # -- in the end ------------------------------------------------------------------------------------

    def nobody_was_let_down(self) -> None:
        """No GET has failed, and for each ejection one POST at most, that was in flight; none came twice."""
        assert self.books.failed("GET") == {}
        outages = self.story(OUTCOMES).count("ejected")
        assert len(self.books.failed("POST")) <= outages, self.books.failed("POST")
        begun = [question for bed in self.beds for question in bed.got.elements()]
        assert len(begun) == len(set(begun)) > 0

    def the_log_is_short_and_has_reasons(self) -> None:
        assert all(id == self.patient.name for id, _, _ in self.flips()), list(self.flips())
        assert all(detail for _, _, detail in self.flips()), list(self.flips())

    async def the_api_agrees(self) -> None:
        """All are well again and nothing runs; the metrics have counted what the log tells."""
        await until(self.lb.is_idle)
        listing = await self.lb.api("GET", "/backends")
        states = [(item["status"]["state"], item["status"]["why_not"]) for item in listing["items"]]
        assert states == [("ready", None)] * 3
        ejections = sum(item["status"]["outcomes"]["ejections"] for item in listing["items"])
        assert ejections == self.story(OUTCOMES).count("ejected")
        assert await self.metric("lb_backend_ejections_total") == ejections
        assert await self.metric("lb_backend_requests_in_flight") == 0
        asked = self.books.answers.total() + len(self.books.failures)
        assert await self.metric("lb_requests_total") == asked

    async def metric(self, name: str) -> float:
        """Its value, over all labels."""
        text = await self.lb.api("GET", "/metrics")
        values = re.findall(rf"(?m)^{name}\{{.*\}} (\S+)$", text)
        assert values, f"there is no {name}"
        return sum(map(float, values))


@asynccontextmanager
async def ward(folder: Path, *settings: str, workers: int = 1) -> AsyncIterator[Ward]:
    """Under load while the block runs; afterwards everybody's books are compared."""
    async with patients(*NAMES) as beds:
        file = folder / "lb.toml"
        file.write_text("".join(bed_in_toml(bed) for bed in beds))
        flags = [part for setting in (*QUICK, *settings) for part in ("--set", setting)]
        async with program("--config", str(file), "--workers", str(workers), *flags) as lb:
            books = Books(lb.address)
            running = Ward(lb, beds, books)
            async with books.kept(GETTING):
                await books.grow(100, NAMES)
                yield running
            running.nobody_was_let_down()
            running.the_log_is_short_and_has_reasons()
            await running.the_api_agrees()


def bed_in_toml(bed: Patient) -> str:
    url = f"http://127.0.0.1:{bed.port}"
    return f'[[pools.default.backends]]\nid = "{bed.name}"\nurl = "{url}"\nmax_in_flight = {CAP}\n'


@in_workers
async def test_killed_and_restarted_it_is_tried_and_admitted(tmp_path: Path, workers: int) -> None:
    async with ward(tmp_path, workers=workers) as it:
        await it.patient.has_a_post()
        it.patient.process.kill()
        await it.tells("ejected")
        await it.goes_on_without_it()
        await it.patient.start()
        await it.tells("admitted")
        await it.is_served_by_it()
    assert re.fullmatch("(ejected trial )+admitted", " ".join(it.story(OUTCOMES)))


@in_workers
async def test_killed_and_restarted_under_probes_it_is_down_and_up(tmp_path: Path, workers: int) -> None:
    """The request that its end cuts ejects it, and so traffic tells before probes do."""
    async with ward(
        tmp_path, *PROBED, UNHURRIED, "pools.default.ejection.consecutive=1", workers=workers
    ) as it:
        await it.patient.has_a_post()
        it.patient.process.kill()
        await it.tells("down")
        await it.goes_on_without_it()
        await it.patient.start()
        await it.tells("up")
        await it.tells("admitted")
        await it.is_served_by_it()
    assert it.story(VERDICTS) == ["down", "up"]
    assert it.story(OUTCOMES) == ["ejected", "trial", "admitted"]


@in_workers
async def test_stopped_for_three_seconds_it_is_down_and_up(tmp_path: Path, workers: int) -> None:
    async with ward(tmp_path, *PROBED, "pools.default.ejection.base=2s", workers=workers) as it:
        await it.patient.has_a_post()
        it.patient.process.send_signal(signal.SIGSTOP)
        began = trio.current_time()
        await it.tells("down")
        await it.tells("ejected")
        await it.goes_on_without_it()
        await trio.sleep_until(began + 3)
        it.patient.process.send_signal(signal.SIGCONT)
        await it.tells("up")
        await it.tells("admitted")
        await it.is_served_by_it()
    assert it.story(VERDICTS) == ["down", "up"]
    assert it.story(OUTCOMES) == ["ejected", "trial", "admitted"]


@in_workers
@pytest.mark.parametrize(
    ("illness", "settings"),
    [
        ("silent", ()),
        ("reset", ()),
        ("503", ("pools.default.retry.statuses=[503]", "pools.default.ejection.statuses=[503]")),
    ],
)
async def test_ill_it_is_ejected_tried_and_admitted(
    illness: str, settings: tuple[str, ...], tmp_path: Path, workers: int
) -> None:
    async with ward(tmp_path, UNHURRIED, *settings, workers=workers) as it:
        await it.patient.has_a_post()
        await it.patient.becomes(illness)
        await it.tells("ejected")
        await it.patient.becomes("healthy")
        await it.goes_on_without_it()
        await it.tells("admitted")
        await it.is_served_by_it()
    assert it.story(OUTCOMES) == ["ejected", "trial", "admitted"]


@pytest.mark.parametrize("settings", ["pools.default.policy=ewma", "pools.default.hedge.after=0.95"])
async def test_slow_it_is_seldom_waited_for_and_not_held_against_it(settings: str, tmp_path: Path) -> None:
    async with ward(tmp_path, settings, "timeouts.response_head=60s") as it:
        await it.patient.becomes("slow")
        before = it.books.answers.total(), it.books.answers[it.patient.name]
        await it.books.grow(500, NAMES)
        after = it.books.answers.total(), it.books.answers[it.patient.name]
    assert after[1] - before[1] < (after[0] - before[0]) / 20
    assert list(it.flips()) == []


@in_workers
async def test_flapping_it_is_ejected_for_longer_each_time(tmp_path: Path, workers: int) -> None:
    async with ward(tmp_path, "pools.default.ejection.base=300ms", workers=workers) as it:
        await it.patient.has_a_post()
        await it.patient.becomes("flapping")
        await it.tells("ejected", 3)
        await it.patient.becomes("healthy")
        await it.goes_on_without_it()
        await until(it.is_admitted, SECONDS)
        await it.is_served_by_it()
    assert re.fullmatch("(ejected trial (admitted )?)+admitted", " ".join(it.story(OUTCOMES)))
    lasted = [float(detail.split()[-2]) for _, kind, detail in it.flips() if kind == "ejected"]
    assert lasted == sorted(set(lasted)), "each ejection is longer than the one before"
