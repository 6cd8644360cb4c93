"""The exchanges that run now: each listed with its phase, and ended by its id."""

import pytest
import trio
import trio.testing

from lb.core.running_exchange import RunningExchange, Waiter
from lb.observe.counters import NO_ANSWER
from tests.kit import GET, OK, Backend, BlackHole, Scene, running, virtual_time

pytestmark = virtual_time

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


async def only_one(lb: Scene) -> RunningExchange:
    """The one exchange that runs, once all tasks are blocked."""
    await trio.testing.wait_all_tasks_blocked()
    (exchange,) = lb.balancer.control.running.list()
    return exchange


async def test_nothing_runs_between_two_requests() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        assert lb.balancer.control.running.list() == []


async def test_each_phase_is_told_with_its_beginning() -> None:
    async with running() as lb:
        client = await lb.asks(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhe")
        peer = await lb.backend.accepts()
        began = trio.current_time()
        seen = await only_one(lb)
        assert (seen.phase, seen.backend, seen.method, seen.target) == (
            "sending request",
            "one",
            b"POST",
            b"/up",
        )
        assert (seen.request_bytes, seen.since) == (2, began)
        await trio.sleep(2)
        await client.says(b"re")
        await peer.hears_request()
        seen = await only_one(lb)
        assert (seen.phase, seen.phase_since) == ("waiting for response", began + 2)
        await trio.sleep(3)
        await peer.says(OK[:-1])
        seen = await only_one(lb)
        assert (seen.phase, seen.phase_since, seen.response_bytes) == ("sending response", began + 5, 1)
        await peer.says(OK[-1:])
        await client.hears(200)


async def test_fast_path_is_listed_too() -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(OK)
        await client.hears(200)
        await client.says(GET)
        assert (await only_one(lb)).phase == "waiting for response"
        await peer.hears_request()
        await peer.says(OK)
        await client.hears(200)


async def test_connecting() -> None:
    async with running(BlackHole) as lb:
        await lb.asks(GET)
        assert (await only_one(lb)).phase == "connecting"


async def test_queued() -> None:
    async with running(each={"max_in_flight": 1}) as lb:
        await lb.asks(GET)
        await lb.backend.hears()
        await lb.asks(GET)
        await trio.testing.wait_all_tasks_blocked()
        seen = sorted(lb.balancer.control.running.list(), key=lambda each: each.phase)
        assert [(each.phase, each.backend) for each in seen] == [
            ("queued", None),
            ("waiting for response", "one"),
        ]


async def test_tunnel() -> None:
    async with running() as lb:
        client = await lb.asks(UPGRADE)
        peer = await lb.backend.hears()
        await peer.says(SWITCHED)
        await client.take_until(b"\r\n\r\n")
        assert (await only_one(lb)).phase == "tunnel"


@pytest.mark.parametrize("has_begun", [False, True])
async def test_one_is_ended_by_its_id_and_the_other_goes_on(has_begun: bool) -> None:
    async with running(Backend, Backend) as lb:
        ended, other = await lb.asks(GET), await lb.asks(GET.replace(b" / ", b" /other "))
        peers = [await backend.hears() for backend in lb.backends]
        if has_begun:
            await peers[0].says(OK[:-1])
            await ended.hears_head(200)
        await trio.testing.wait_all_tasks_blocked()
        (victim,) = [each for each in lb.balancer.control.running.list() if each.target == b"/"]
        assert lb.balancer.control.running.end(victim.id, "an operator ended it")
        if has_begun:
            assert await ended.hears_all() == (b"o", "end")  # one byte short of what its length says
        else:
            assert "an operator ended it" in (await ended.hears(503))["Proxy-Status"]
        assert not lb.balancer.control.running.end(victim.id, "again")
        await peers[1].says(OK)
        await other.hears(200)
        assert all(backend.is_open for backend in lb.registry.backends.values())
        codes = [dict(backend.codes) for backend in lb.registry.backends.values()]
        assert codes == [{200: 1} if has_begun else {NO_ANSWER: 1}, {200: 1}]  # 503 was our word


async def test_who_waits_for_a_response_is_told_with_whom_and_since_when() -> None:
    """One that sends its request, one that gets its answer and one that does nothing do not wait."""
    async with running() as lb:
        idle = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(OK)
        await idle.hears(200)
        uploading = await lb.asks(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhe")
        await trio.testing.wait_all_tasks_blocked()
        assert [*lb.balancer.control.running.waiting()] == [None, None]
        await uploading.says(b"re")
        await trio.testing.wait_all_tasks_blocked()
        told = [each for each in lb.balancer.control.running.waiting() if each is not None]
        assert told == [Waiter("default", "one", trio.current_time())]
