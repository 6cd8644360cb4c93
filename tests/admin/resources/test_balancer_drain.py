"""The balancer taken out as a whole: not ready, and serving all the same."""

from functools import partial

import pytest
import trio

import lb
from admin.resources.balancer_drain import LOOK_SECONDS
from admin.server import supervised
from lb.control import Control
from tests.admin.kit import Add, Api, Service
from tests.kit.backend import OK
from tests.kit.balancer import running
from tests.kit.client import GET
from tests.kit.time import lasting, virtual_time


@pytest.fixture
async def told(control: Control) -> list[object]:
    """What the traffic's side and the program were told to do."""
    told: list[object] = []
    control.on_drain = told.append
    control.stop = lambda: told.append("stop")
    return told


def serve(control: Control, in_flight: int) -> None:
    control.metrics.listener("127.0.0.1:8080").in_flight = in_flight


async def test_it_is_not_ready_until_that_is_taken_back(
    api: Api, control: Control, add: Add, told: list[object]
) -> None:
    add("web1")
    serve(control, 3)
    first = (await api("GET", "/drain")).json
    assert (first["state"], first["started"], first["remaining"]) == ("ready", None, 3)
    begun = await api("POST", "/drain")
    assert begun.status == 202
    assert (begun.json["state"], begun.json["started_with"], begun.json["remaining"]) == ("draining", 3, 3)
    readyz = await api("GET", "/readyz")
    assert (readyz.status, readyz.json["reasons"]) == (503, ["draining"])
    serve(control, 0)
    again = await api("POST", "/drain")
    assert (again.status, again.json["state"], again.json["started_with"]) == (200, "drained", 3)
    assert again.json["started"] == begun.json["started"]
    for _ in range(2):
        back = await api("DELETE", "/drain")
        assert (back.status, back.json["state"]) == (200, "ready")
    assert (await api("GET", "/readyz")).status == 200
    assert told == [True, False]


@virtual_time
async def test_wait_answers_when_nothing_is_in_flight(api: Api, control: Control, told: list[object]) -> None:
    serve(control, 1)

    async def last_request_ends() -> None:
        await trio.sleep(5.01)
        serve(control, 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(last_request_ends)
        with lasting(5 + LOOK_SECONDS):
            answer = await api("POST", "/drain?wait=30s&exit=true")
    assert (answer.status, answer.json["state"]) == (202, "drained")
    assert told == [True, "stop"]


@virtual_time
async def test_wait_is_over_when_it_is_over(api: Api, control: Control, told: list[object]) -> None:
    serve(control, 1)
    with lasting(2):
        answer = await api("POST", "/drain", form="wait=2s")
    assert (answer.status, answer.json["remaining"]) == (202, 1)
    assert told == [True]


@virtual_time
async def test_who_waits_learns_that_it_was_taken_back(
    api: Api, control: Control, told: list[object]
) -> None:
    serve(control, 1)

    async def take_back() -> None:
        await trio.sleep(1)
        await api("DELETE", "/drain")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_back)
        answer = await api("POST", "/drain?wait=30s&exit=1")
    assert answer.status == 409
    assert told == [True, False]  # and no stop


@virtual_time
async def test_live_connections_are_told_and_new_ones_are_served() -> None:
    async with running() as scene, scene.backend.answering(OK):
        early = await scene.client()
        await early.says(GET)
        assert "Connection" not in await early.hears(200)
        control = scene.balancer.control
        control.begin_drain()
        for client in (early, await scene.client()):
            await client.says(GET)
            assert (await client.hears(200))["Connection"] == "close"
        control.end_drain()
        late = await scene.client()
        await late.says(GET)
        assert "Connection" not in await late.hears(200)


async def test_exit_ends_the_program_although_somebody_reads_events() -> None:
    balancer = lb.Balancer(lb.build({"listen": ["127.0.0.1:0"], "admin": {"listen": "127.0.0.1:0"}}))
    bound: list[str] = []

    async def serve_admin(
        control: Control, stop: trio.Event, *, task_status: trio.TaskStatus[object]
    ) -> None:
        async with trio.open_nursery() as nursery:
            bound.append(await nursery.start(partial(supervised, control, None, stop=stop)))
            task_status.started()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(balancer.run, beside=[serve_admin]))
        service = Service(balancer.control, *address(bound[0]), balancer._steering.stop_wished)
        async with await service.connect() as reader:
            await reader.send_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.receive_some()
            began = trio.current_time()
            answer = await service.says("POST /drain?exit=true HTTP/1.1\nHost: localhost\n\n")
            assert b'"stopping":true' in answer
            assert b"ending" in b"".join([chunk async for chunk in reader])
    assert trio.current_time() - began < 1


def address(bound: str) -> tuple[str, int]:
    host, _, port = bound.rpartition(":")
    return host, int(port)
