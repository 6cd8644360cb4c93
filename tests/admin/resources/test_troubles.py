"""GET /trouble/ended: what was wrong and is over, with when and why."""

import re

import pytest
import trio
from structlog.testing import capture_logs

from admin.trouble_watch import LOOK_SECONDS, TroubleWatch
from lb.certificate_files.termination import Termination
from lb.control import Control
from lb.core.backend import Backend
from lb.core.ended_troubles import REMEMBERED
from tests.admin.kit import Add, Api, is_problem
from tests.admin.resources.test_certificates import tls
from tests.admin.test_trouble_watch import looks
from tests.kit.time import virtual_time

pytestmark = virtual_time
__all__ = ["tls"]


def to_the_second(time: str) -> str:
    """The time of day; what is done in slices may rest for some milliseconds."""
    return time[len("2027-01-15T") : len("2027-01-15T08:00:00")]


async def ends(control: Control, backend: Backend, seconds: float = 8.0) -> None:
    """Its pool has nobody for so long, and has it back."""
    control.registry.maintenance(backend)
    await looks(control, int(seconds / LOOK_SECONDS))
    control.registry.ready(backend)
    await looks(control, 1)


async def test_what_has_ended_is_remembered_with_when_and_why(api: Api, control: Control, add: Add) -> None:
    backend = add("web1")
    await ends(control, backend)
    answer = (await api("GET", "/trouble/ended")).json
    [one] = answer.pop("items")
    assert answer == {
        **{"summary": "1 trouble ended", "current": 0},
        "remembered_since": "2027-01-15T08:00:00.000Z",
    }
    assert (one["kind"], one["pool"], one["backend"], one["times"]) == ("nobody", "default", None, 1)
    assert one["sentence"] == "nobody took requests of pool default for 8 s: 1 maintenance"
    assert (to_the_second(one["began"]), to_the_second(one["ended"])) == ("08:00:00", "08:00:08")
    assert one["seconds"] == pytest.approx(8.0, abs=0.4)
    table = await api("GET", "/trouble/ended?format=table")
    head, row = table.body.decode().splitlines()
    assert head.split() == ["BEGAN", "ENDED", "KIND", "WHAT"]
    assert row.split()[:4] == [one["began"], one["ended"], "nobody", "nobody"]


async def test_what_has_ended_several_times_is_told_once(api: Api, control: Control, add: Add) -> None:
    backend = add("web1")
    for _ in range(3):
        await ends(control, backend)
    [one] = (await api("GET", "/trouble/ended")).json["items"]
    assert one["sentence"] == "nobody took requests of pool default 3 times, for 24 s in all: 1 maintenance"
    assert (one["times"], one["seconds"]) == (3, pytest.approx(24.0, abs=0.4))
    assert (to_the_second(one["began"]), to_the_second(one["ended"])) == ("08:00:00", "08:00:28")


async def test_what_ended_before_is_left_out_on_demand(api: Api, control: Control, add: Add) -> None:
    backend = add("web1")
    await ends(control, backend)
    await trio.sleep(3600)
    assert len((await api("GET", "/trouble/ended?since=12h")).json["items"]) == 1
    assert len((await api("GET", "/trouble/ended?since=2027-01-15T08:00:08Z")).json["items"]) == 1
    answer = (await api("GET", "/trouble/ended?since=30m")).json
    assert answer["items"] == []
    assert re.fullmatch(r"no trouble ended since 08:30:1\dZ", answer["summary"])
    control.registry.maintenance(backend)
    await looks(control, 2)
    answer = (await api("GET", "/trouble/ended?since=30m")).json
    assert answer["current"] == 1
    assert re.fullmatch(r"no trouble ended since 08:30:1\dZ; 1 goes on", answer["summary"])
    answer = await api("GET", "/trouble/ended")
    assert answer.json["summary"] == "1 trouble ended; 1 goes on"


async def test_where_none_has_ended_it_says_since_when(api: Api) -> None:
    await trio.sleep(60)
    for query in ("", "?since=12h"):
        answer = (await api("GET", f"/trouble/ended{query}")).json
        assert answer["summary"] == "no trouble ended since 08:00:00Z"
        assert (answer["items"], answer["remembered_since"]) == ([], "2027-01-15T08:00:00.000Z")


async def test_it_says_since_when_all_that_ended_are_remembered(api: Api, control: Control, add: Add) -> None:
    for number in range(REMEMBERED + 1):
        control.registry.add_pool(f"p{number}")
        add(f"web{number}", pool=f"p{number}")
    for backend in [*control.registry.backends.values()]:
        control.registry.maintenance(backend)
    await looks(control, 2)
    for backend in [*control.registry.backends.values()]:
        control.registry.remove(backend)
    await looks(control, 1)
    answer = (await api("GET", "/trouble/ended")).json
    assert (len(answer["items"]), answer["summary"]) == (REMEMBERED, f"{REMEMBERED} troubles ended")
    assert answer["remembered_since"] == answer["items"][-1]["ended"]


async def test_a_fact_that_has_ended_is_told_without_how_long(
    api: Api, control: Control, tls: Termination
) -> None:
    watch = TroubleWatch(control)
    for _ in range(2):
        with capture_logs():
            await watch.look()
            await trio.sleep(LOOK_SECONDS)
            control.tls, former = None, control.tls
            await watch.look()
            await trio.sleep(LOOK_SECONDS)
            control.tls = former
        [one] = (await api("GET", "/trouble/ended")).json["items"]
    assert one["sentence"] == "the certificate of www.test was to end in 24 h, 2 times"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("since=soon", "expected a duration such as 1h, or a time such as 2026-01-31T03:00Z, got 'soon'"),
        ("since=", "expected a duration such as 1h, or a time such as 2026-01-31T03:00Z, got ''"),
        ("format=tables", "expected one of json, table"),
        ("last=12h", "last"),
    ],
)
async def test_a_wrong_parameter_names_what_is_expected(api: Api, query: str, expected: str) -> None:
    answer = await api("GET", f"/trouble/ended?{query}")
    assert answer.status == 422
    assert is_problem(answer)
    assert expected in answer.body.decode()
