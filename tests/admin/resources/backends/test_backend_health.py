"""What an operator sees of backends that fail, and can ask of them."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from lb.control import Control
from lb.core.backend import Backend
from lb.core.health.probe_verdict import Check
from lb.settings.pool_settings import Ejection, PoolSettings, Probe
from tests.admin.kit import Add, Api, Probes


@pytest.fixture
async def probed(control: Control, add: Add) -> Backend:
    """A backend that is probed, beside another one."""
    control.registry.configure(control.registry.pools["default"], PoolSettings(probe=Probe(fall=2)))
    add("web2")
    return add("web1")


def fail(control: Control, backend: Backend, times: int = 3) -> None:
    """So many attempts on it do."""
    for _ in range(times):
        control.registry.pools[backend.pool].failed(
            backend, "connection refused", 0.1, control.registry.now()
        )


def take_down(control: Control, *backends: Backend) -> None:
    """Its probes fail."""
    for backend in backends * 3:
        control.registry.checked(backend, Check(False, "refused", 0.0123456, control.registry.now()))


async def status(api: Api, backend_id: str = "web1") -> Any:
    return (await api("GET", f"/backends/{backend_id}")).json["status"]


async def test_a_backend_whose_probes_fail_says_since_when_and_why(
    api: Api, control: Control, probed: Backend, autojump_clock: trio.testing.MockClock
) -> None:
    control.registry.checked(probed, Check(True, "ok 200", 0.5, control.registry.now()))
    await trio.sleep(90.5)
    take_down(control, probed)
    await trio.sleep(2.25)
    seen = await status(api)
    assert (seen["state"], seen["why_not"]) == ("down", "down: refused")
    at = "2027-01-15T08:01:30.500Z"
    assert seen["health"] == {
        "verdict": "down",
        "since": at,
        "why": "refused",
        "last": {"ok": False, "why": "refused", "seconds": 0.012346, "at": at},
        "passes": 1,
        "fails": 3,
        "downs": 1,
        "down_seconds": 2.25,
        "recent": [True, False, False, False],
    }
    items = (await api("GET", "/backends?state=down")).json["items"]
    assert [item["id"] for item in items] == ["web1"]


async def test_a_backend_that_is_ejected_says_until_when(
    api: Api, control: Control, add: Add, autojump_clock: trio.testing.MockClock
) -> None:
    web1, _ = add("web1"), add("web2")
    await trio.sleep(1)
    fail(control, web1)
    seen = await status(api)
    assert (seen["state"], seen["why_not"]) == ("ejected", "ejected: connection refused")
    assert seen["outcomes"] == {
        "standing": "ejected",
        "since": "2027-01-15T08:00:01.000Z",
        "why": "connection refused",
        "until": "2027-01-15T08:00:11.000Z",
        "ejections": 1,
    }
    await trio.sleep(10)
    control.registry.expire(control.registry.now())
    seen = await status(api)
    assert (seen["state"], seen["why_not"], seen["outcomes"]["until"]) == ("trial", None, None)
    assert seen["outcomes"]["standing"] == "trial"
    ready = (await api("POST", "/backends/web1/ready")).json["status"]
    assert (ready["state"], ready["outcomes"]["ejections"]) == ("ready", 1)


async def test_a_backend_that_warms_up_shows_its_share(api: Api, control: Control, add: Add) -> None:
    control.registry.configure(control.registry.pools["default"], PoolSettings(slow_start=100.0))
    await api("POST", "/backends", form="id=web1&url=http://10.0.0.1&weight=4")
    seen = await status(api)
    assert (seen["state"], seen["share"]) == ("warming", 0.4)


async def test_the_table_says_why(api: Api, control: Control, probed: Backend, add: Add) -> None:
    take_down(control, probed)
    add("web3", weight=0)
    fail(control, control.registry.backend("web2"))
    await api("POST", "/backends/web3/maintenance")
    rows = [line.split(maxsplit=10) for line in await table(api, "/backends?format=table")]
    assert {row[0]: (row[3], *row[10:]) for row in rows} == {
        "ID": ("STATE", "WHY"),
        "web1": ("down", "refused"),
        "web2": ("ejected", "connection refused"),
        "web3": ("maintenance",),
    }


async def test_what_a_backend_said_cannot_break_the_table(
    api: Api, control: Control, probed: Backend
) -> None:
    for _ in range(2):
        control.registry.checked(probed, Check(False, "\x1b[2J\nweb9  default" + "x" * 200, 0.1, 0.0))
    lines = await table(api, "/backends?format=table")
    assert len(lines) == 3
    assert lines[2].endswith("  ?[2J?web9  default" + "x" * 42)


async def table(api: Api, path: str) -> Sequence[str]:
    return (await api("GET", path)).body.decode().splitlines()


async def test_a_check_is_made_and_judged(api: Api, control: Control, probed: Backend) -> None:
    probes = Probes(control.registry)
    control.check = probes.check
    answer = await api("POST", "/backends/web1/check")
    assert (answer.status, answer.headers["etag"]) == (200, f'"{probed.revision}"')
    assert answer.json["status"]["health"]["last"]["why"] == "ok 200"
    assert "persisted" not in answer.json
    probes.result = False, "status 503", 0.25
    await api("POST", "/backends/web1/check")
    health = (await api("POST", "/backends/web1/check")).json["status"]["health"]
    assert (health["verdict"], health["fails"], health["last"]["seconds"]) == ("down", 2, 0.25)


async def test_a_check_that_does_not_count_is_shown_all_the_same(
    api: Api, control: Control, probed: Backend
) -> None:
    async def check(backend: Backend) -> Check:
        return Check(False, "no answer in 2 s (not counted: this balancer was late)", 2.0, 0.0)

    control.check = check
    health = (await api("POST", "/backends/web1/check")).json["status"]["health"]
    assert (health["fails"], health["verdict"]) == (0, "up")
    assert health["last"]["why"].endswith("(not counted: this balancer was late)")


async def test_without_a_probe_a_check_says_how_to_set_one(api: Api, add: Add) -> None:
    add("web1")
    answer = await api("POST", "/backends/web1/check")
    assert (answer.status, answer.json["type"]) == (409, "/problems/conflict")
    assert answer.json["detail"] == (
        "pool 'default' has no probe; set one: "
        "curl -X PATCH 127.0.0.1:9000/pools/default -d probe.path=/healthz"
    )
    assert (await api("PATCH", "/pools/default", form="probe.path=/healthz")).status == 200
    assert (await api("POST", "/backends/web1/check")).status == 200


async def test_a_check_of_nobody_is_404_and_takes_no_fields(
    api: Api, control: Control, probed: Backend
) -> None:
    assert (await api("POST", "/backends/nope/check")).status == 404
    assert (await api("POST", "/backends/web1/check", form="x=1")).status == 422

    async def check(backend: Backend) -> Check:
        control.registry.remove(backend)
        return Check(True, "ok 200", 0.1, 0.0)

    control.check = check
    assert (await api("POST", "/backends/web1/check")).status == 404


async def test_who_was_never_seen_to_work_is_not_ready(api: Api, control: Control, add: Add) -> None:
    settings = PoolSettings(probe=Probe(initial="probe"))
    control.registry.configure(control.registry.pools["default"], settings)
    web1 = add("web1")
    assert (await status(api))["state"] == "checking"
    assert (await api("GET", "/readyz")).status == 503
    control.registry.checked(web1, Check(True, "ok 200", 0.1, 0.0))
    assert (await api("GET", "/readyz")).status == 200


async def test_a_pool_in_panic_serves(api: Api, control: Control, add: Add) -> None:
    pool = control.registry.pools["default"]
    control.registry.configure(pool, PoolSettings(probe=Probe(), ejection=Ejection(share=1.0)))
    web1, web2 = add("web1"), add("web2")
    take_down(control, web1)
    fail(control, web2)
    assert (await api("GET", "/readyz")).json["reasons"] == ["pool default has no available backend"]
    await api("PATCH", "/pools/default", form="panic=0.5")
    assert (await api("GET", "/readyz")).status == 200
    seen = await status(api)
    assert (seen["state"], seen["why_not"]) == ("down", None)
    assert (await api("GET", "/pools/default")).json["is_panicking"] is True
    assert (await table(api, "/backends?format=table"))[1].endswith("  refused")
