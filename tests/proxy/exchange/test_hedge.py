"""A second attempt beside a slow first one: which one wins, and what is left of the other."""

import pytest
import trio

from lb.errors import Reason
from tests.kit.backend import OK, Backend, Refusing, answer
from tests.kit.balancer import Scene, running
from tests.kit.client import GET, Client
from tests.kit.time import lasting, virtual_time
from tests.kit.wires import over_all_wires

pytestmark = [virtual_time, over_all_wires]

USUAL = 0.1
"""Seconds in which the backends usually answer; after that, a second attempt begins."""
HEDGING = {"default": {"hedge": {"at_least": "10ms"}}}
SICK = answer(b"sick", status="500 Internal Server Error")


def used_to(lb: Scene, seconds: float = USUAL) -> None:
    """Let each backend have answered often within this time."""
    now = trio.current_time()
    for backend in lb.registry.backends.values():
        for _ in range(100):
            backend.recent.observe(seconds, now)


def story(lb: Scene) -> list[tuple[str, Reason | None, bool]]:
    return [(a.backend.id, a.reason, a.is_beaten) for a in lb.exchange.attempts]


async def asked(lb: Scene, request: bytes = GET) -> Client:
    used_to(lb)
    return await lb.asks(request)


async def test_a_second_backend_answers_for_a_slow_one() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb, lb.backends[1].answering(OK):
        client = await asked(lb)
        slow = await lb.backend.hears()
        await client.hears(200)
        assert trio.current_time() > 0
        await slow.hears_end()
        assert story(lb) == [("one", None, True), ("two", None, False)]
        assert lb.registry.pools["default"].hedged == 1
        assert lb["one"].codes == {499: 1}


async def test_a_first_that_is_quick_runs_alone() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb, lb.backend.answering(OK):
        client = await asked(lb)
        with lasting(0.0):
            await client.hears(200)
        await lb.backends[1].accepts_nobody()
        assert lb["one"].idle_connections == 1


async def test_a_first_that_comes_before_the_second_wins() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        slow = await lb.backend.hears()
        other = await lb.backends[1].hears()
        await slow.says(OK)
        await client.hears(200)
        await other.hears_end()
        assert story(lb) == [("one", None, False), ("two", None, True)]


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_only_idempotent_requests_without_a_body_run_twice(request_: bytes) -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb, request_)
        peer = await lb.backend.hears()
        await trio.sleep(10)
        await lb.backends[1].accepts_nobody()
        await peer.says(OK)
        await client.hears(200)


async def test_an_error_is_only_passed_on_if_the_other_is_no_better() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        slow = await lb.backend.hears()
        await (await lb.backends[1].hears()).says(SICK)
        await client.hears_nothing()
        await slow.says(OK)
        await client.hears(200)


async def test_where_both_are_sick_one_answer_is_passed_on() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        slow = await lb.backend.hears()
        await (await lb.backends[1].hears()).says(SICK)
        slow.closes()
        await client.hears(500)
        assert story(lb)[0] == ("one", Reason.CONNECTION_TERMINATED, False)
        assert lb["one"].failures == {Reason.CONNECTION_TERMINATED: 1}


async def test_a_first_that_fails_is_tried_again_as_ever() -> None:
    async with running(Refusing, Backend, pools=HEDGING) as lb, lb.backend.answering(OK):
        client = await asked(lb)
        with lasting(0.0):
            await client.hears(200)
        assert story(lb) == [("one", Reason.CONNECTION_REFUSED, False), ("two", None, False)]


async def test_where_both_fail_the_client_is_told_of_the_first() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        slow = await lb.backend.hears()
        (await lb.backends[1].hears()).closes()
        slow.closes()
        assert "connection_terminated" in (await client.hears(502))["Proxy-Status"]


async def test_both_have_one_timeout() -> None:
    async with running(Backend, Backend, pools=HEDGING, timeouts={"response_head": 5}) as lb:
        client = await asked(lb)
        await lb.backend.hears()
        await lb.backends[1].hears()
        await client.hears(504)


async def test_a_stale_connection_is_made_up_for_within_the_race() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await lb.asks(GET)
        stale = await lb.backend.hears()
        await stale.says(OK)
        await client.hears(200)
        used_to(lb)
        lb.gives_turn("one")
        await client.says(GET)
        await stale.hears_request()
        stale.closes()
        await (await lb.backend.hears()).says(OK)
        await client.hears(200)
        assert story(lb) == [("one", Reason.CONNECTION_TERMINATED, False), ("one", None, False)]


async def test_interim_answers_without_end_are_not_held_back() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        endless, other = await lb.backend.hears(), await lb.backends[1].hears()
        await endless.says(b"HTTP/1.1 102 Processing\r\n\r\n" * 2000)
        await trio.sleep(1)
        await other.says(OK)
        await client.hears(200)
        assert story(lb) == [("one", Reason.HTTP_PROTOCOL_ERROR, False), ("two", None, False)]
        assert lb["one"].why_not() is None


async def test_interim_answers_of_the_winner_are_passed_on_before_its_own() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        slow = await lb.backend.hears()
        await slow.says(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        other = await lb.backends[1].hears()
        await client.hears_nothing()
        await other.says(b"HTTP/1.1 103 Early Hints\r\nLink: <b>\r\n\r\n", OK)
        assert (await client.hears_head(103))["Link"] == "<b>"
        await client.hears(200)


async def test_a_loser_that_is_cut_does_not_end_the_race() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        slow = await lb.backend.hears()
        await lb.backends[1].hears()
        lb.registry.maintenance(lb["two"])
        await slow.says(OK)
        await client.hears(200)


async def test_without_a_budget_nobody_runs_beside() -> None:
    config = {"default": {"hedge": {}, "retry": {"budget": 0, "floor": 0}}}
    async with running(Backend, Backend, pools=config) as lb:
        client = await asked(lb)
        peer = await lb.backend.hears()
        await trio.sleep(1)
        await lb.backends[1].accepts_nobody()
        await peer.says(OK)
        await client.hears(200)


async def test_a_client_that_leaves_ends_both() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        client = await asked(lb)
        peers = [await lb.backend.hears(), await lb.backends[1].hears()]
        client.resets()
        for peer in peers:
            await peer.hears_end()
