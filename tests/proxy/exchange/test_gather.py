"""Request bodies that are received whole before a backend is chosen (`lb.proxy.exchange.gather`)."""

from typing import Any

import msgspec
import pytest
import trio

from lb.errors import ClientGone, RequestTimeout
from tests.kit.balancer import running
from tests.kit.memory import exchanging
from tests.kit.time import lasting, virtual_time

pytestmark = virtual_time

GATHERING: dict[str, Any] = {"buffer": {"request": 1000}}
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
LONG = POST.replace(b": 4", b": 1001")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_no_backend_is_chosen_before_the_body_is_whole() -> None:
    async with exchanging(**GATHERING) as scene:
        asked = scene.asks(POST, b"h", ends=False)
        for piece in (b"e", b"r"):
            await trio.sleep(10)
            asked.client.says(piece)
        await settle()
        assert asked.exchange.attempt is None
        assert scene.context.held.count == 3
        asked.client.says(b"e", ends=True)
        backend = await scene.serving(asked)
        assert backend.heard == b"here"
        assert backend.heard_all
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert asked.exchange.record.gathered == 20.0


@pytest.mark.parametrize(
    "head",
    [
        LONG,
        POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        POST.replace(b"Host", b"Expect: 100-continue\r\nHost"),
    ],
    ids=["longer", "length unknown", "expected"],
)
async def test_what_is_not_gathered(head: bytes) -> None:
    async with exchanging(**GATHERING) as scene:
        asked = scene.asks(head, b"h", ends=False)
        backend = await scene.serving(asked)
        assert backend.heard == b"h"
        asked.client.says(b"ere", ends=True)
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert asked.exchange.record.gathered is None


async def test_without_room_for_more_a_body_is_passed_on_as_it_comes() -> None:
    async with exchanging(**GATHERING) as scene:
        scene.context.held.most = 4
        asked = scene.asks(POST, b"h", ends=False)
        await settle()
        assert asked.exchange.attempt is None
        asked.client.says(b"er")
        assert (await scene.serving(asked)).heard == b"her"
        asked.client.leaves()
        assert isinstance(await asked.outcome(), ClientGone)


async def test_only_what_has_come_takes_room() -> None:
    async with exchanging(buffer={"request": 64 * 1024}) as scene:
        everybody = [scene.asks(POST.replace(b": 4", b": 65536"), b"h", ends=False) for _ in range(100)]
        await settle()
        for asked in everybody:
            asked.client.says(b"ere")
        await settle()
        assert scene.context.held.count == 400
        for asked in everybody:
            asked.client.leaves()
            assert isinstance(await asked.outcome(), ClientGone)


async def test_a_body_that_stops_is_given_up_and_no_backend_knows() -> None:
    async with exchanging(**GATHERING) as scene:
        asked = scene.asks(POST, b"h", ends=False)
        with lasting(30.0):
            assert isinstance(await asked.outcome(), RequestTimeout)
        assert asked.exchange.record.attempts == []


async def test_the_time_that_a_body_took_is_not_taken_from_the_exchange() -> None:
    async with exchanging(**GATHERING, retry={"deadline": 5}) as scene:
        asked = scene.asks(POST, b"h", ends=False)
        await trio.sleep(20)
        asked.client.says(b"ere", ends=True)
        backend = await scene.serving(asked)
        await trio.sleep(4)
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None


async def test_a_gathered_body_goes_to_another_backend_where_the_first_refuses() -> None:
    async with exchanging(backends=2, **GATHERING) as scene:
        scene.connections.refusing.add("b0")
        asked = scene.asks(POST, b"h", ends=False)
        await settle()
        asked.client.says(b"ere", ends=True)
        backend = await scene.serving(asked)
        assert (backend.backend.id, backend.heard) == ("b1", b"here")
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert [attempt.backend.id for attempt in asked.exchange.record.attempts] == ["b0", "b1"]


async def test_over_sockets_and_byte_by_byte() -> None:
    async with running(pools={"default": {"buffer": {"request": "64KiB"}}}) as lb:
        client = await lb.asks(POST)
        await client.says_bytewise(b"here")
        peer = await lb.backend.hears()
        await peer.says(OK + b"ok")
        await client.hears(200)
        assert lb.exchange.request_bytes == 4


async def test_f5_12_a_whole_request_may_have_a_limit_of_time() -> None:
    async with exchanging(**GATHERING) as scene:
        scene.context.timeouts = msgspec.structs.replace(scene.context.timeouts, request=25.0)
        for head in (POST, LONG):
            asked = scene.asks(head, b"h", ends=False)
            await trio.sleep(10)
            asked.client.says(b"e" * 250)
            with lasting(15.0):
                error = await asked.outcome()
            assert isinstance(error, RequestTimeout)
            assert error.status == 408
