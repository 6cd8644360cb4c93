"""A list that a server answers: at intervals, with its ETag, and what is no list."""

import pytest
import trio
import trio.testing

from lb.core.announced import Announced
from lb.discovery.http_lists import HttpSource
from tests.kit import Peer, answer, virtual_time
from tests.kit.balancer import open_sockets
from tests.kit.cancel import cancelled_everywhere
from tests.kit.scripted import SILENCE, Asked, ScriptedServer, in_json
from tests.kit.sources import Told, running_source

pytestmark = virtual_time
WEB1, WEB2 = {"url": "http://10.0.0.1:1"}, {"url": "http://10.0.0.2:1"}


class Inventory(ScriptedServer):
    """Answers `entries` at /web, with an ETag if it has one."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[object] = [WEB1]
        self.etag = ""

    async def answer(self, asked: Asked, peer: Peer) -> None:
        assert asked.request.start == "GET /web?dc=a HTTP/1.1"
        if self.etag and self.etag in asked.request.all("If-None-Match"):
            await peer.says(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        else:
            await peer.says(in_json(self.entries, f"ETag: {self.etag or 'none'}"))


def source(server: ScriptedServer, **others: str) -> HttpSource:
    return HttpSource(f"{server.url}/web?dc=a", **others)  # type: ignore[arg-type]  # of files


async def test_it_asks_every_ten_seconds_and_tells_after_each_answer() -> None:
    async with Inventory().running() as server, running_source(source(server)) as told:
        await told.until(1)
        assert told.here == {"10.0.0.1-1": "here"}
        assert told.last.next_look == 10
        server.entries = [WEB1, WEB2]
        began = trio.current_time()
        await told.until(2)
        assert 9 <= trio.current_time() - began <= 11
        assert told.here == {"10.0.0.1-1": "here", "10.0.0.2-1": "here"}
        assert server.heard[0].request["X-Prometheus-Refresh-Interval-Seconds"] == "10"


async def test_what_has_not_changed_is_not_sent_again() -> None:
    async with Inventory().running() as server, running_source(source(server)) as told:
        server.etag = '"1"'
        await told.until(3)
        assert told.sets[0] is told.sets[1] is told.sets[2]
        server.etag, server.entries = '"2"', [WEB2]
        await told.until(4)
        assert told.here == {"10.0.0.2-1": "here"}


async def test_an_empty_list_is_told_as_one() -> None:
    async with Inventory().running() as server, running_source(source(server)) as told:
        server.entries = []
        await told.until(1)
        assert told.last == Announced((), (), 10)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(b"oh", status="500 Oh"), "it answered 500: oh"),
        (answer(b"", "Location: /", status="302 Found"), "it answered 302"),
        (answer(b""), "it is no list in JSON"),
        (answer(b"<html>login</html>"), "it is no list in JSON"),
        (answer(b'[{"adress": "x"}]'), "none of its 1 entries is of use: entry 0: Object contains"),
        (b"\x00\r\n\r\n", "is not HTTP"),
        (SILENCE, "no answer within 10 s"),
    ],
)
async def test_what_is_no_list_is_a_failure_and_no_set(said: bytes, why: str) -> None:
    async with Inventory().running() as server:
        asked = source(server)
        async with running_source(asked) as told:
            await told.until(1)
            server.instead.append(said)
            failure = await told.until_failed()
            assert why in failure
            assert server.url in failure
            assert len(told.sets) == 1
        async with running_source(asked) as told:  # and it is well again
            await told.until(1)
            assert told.here == {"10.0.0.1-1": "here"}


async def test_after_a_failure_an_etag_still_stands_for_the_last_good_list() -> None:
    async with Inventory().running() as server:
        server.etag = '"1"'
        asked = source(server)
        async with running_source(asked) as told:
            await told.until(1)
            server.instead.append(answer(b"[", 'ETag: "2"'))
            await told.until_failed()
        async with running_source(asked) as told:
            await told.until(1)
            assert told.here == {"10.0.0.1-1": "here"}
            assert server.heard[-1].request["If-None-Match"] == '"1"'


async def test_a_huge_list_is_a_list() -> None:
    async with Inventory().running() as server, running_source(source(server)) as told:
        server.entries = [{"url": f"http://10.{n >> 8}.{n & 255}.1:1"} for n in range(10_000)]
        await told.until(1)
        assert len(told.last.backends) == 10_000


async def test_cancelled_at_any_step_it_leaves_nothing_open() -> None:
    async with Inventory().running() as server:
        await trio.testing.wait_all_tasks_blocked()
        before = len(open_sockets())

        async def run() -> None:
            told = Told()
            with trio.move_on_after(25):
                await source(server).run(told.tell)

        assert await cancelled_everywhere(run, lambda: None) > 5
        await trio.testing.wait_all_tasks_blocked()
        assert len(open_sockets()) == before
