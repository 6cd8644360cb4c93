"""One balancer for many examples: it lives in a thread of its own, and whoever makes up examples in another.

Its clock jumps while an example is played and stands still between two.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from queue import SimpleQueue
from typing import TypeVar

import trio
import trio.testing

from tests.kit import OK, Client, Ended, NotHttp, Peer, Request, Scene, running
from tests.kit.line import Line
from tests.kit.message import read_body, read_response_head

T = TypeVar("T")

SOON = {"request_head": 1, "body_idle": 1, "response_head": 1, "response_idle": 1, "keepalive": 1}
SMALL = {"request_head": 600, "target": 200, "fields": 20, "response_head": 600}
STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) ")


@dataclass(frozen=True)
class Heard:
    """A request as the backend got it, without what differs each time."""

    start: str
    fields: tuple[tuple[str, str], ...]
    framing: str
    body: bytes
    trailers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Outcome:
    """The statuses that the client heard in turn, and the whole requests that the backend heard."""

    statuses: tuple[int, ...]
    heard: tuple[Heard, ...]


@dataclass(frozen=True)
class Relayed:
    """What became of an answer: the statuses in turn, the backend's last body, and whether it is whole."""

    statuses: tuple[int, ...]
    body: bytes
    is_whole: bool


class House:
    """The balancer, a backend that records, and the clients that are sent to it one after the other."""

    def __init__(self, scene: Scene, clock: trio.testing.MockClock) -> None:
        self._scene = scene
        self._clock = clock
        self._token = trio.lowlevel.current_trio_token()
        self._heard: list[Request] = []
        self._answer: tuple[bytes, ...] = (OK,)
        self._ends = False
        self._fault: NotHttp | None = None
        self.closing = trio.Event()

    def plays(self, *pieces: bytes) -> Outcome:
        """A client sends these on one connection and waits until it ends."""
        self._answer, self._ends = (OK,), False
        return trio.from_thread.run(self._on_the_clock, self._says, pieces, trio_token=self._token)

    def relays(self, *answer: bytes) -> Relayed:
        """A client asks, and a backend sends these and ends the connection."""
        self._answer, self._ends = answer, True
        return trio.from_thread.run(self._on_the_clock, self._asks, answer, trio_token=self._token)

    def closes(self) -> None:
        trio.from_thread.run_sync(self.closing.set, trio_token=self._token)

    async def _on_the_clock(
        self, play: Callable[[Client, Sequence[bytes]], Awaitable[T]], pieces: Sequence[bytes]
    ) -> T:
        self._clock.autojump_threshold = 0
        client = await self._scene.client()
        self._heard.clear()
        self._fault = None
        try:
            result = await play(client, pieces)
        finally:
            client.closes()
            self._scene.clients.remove(client)
            await trio.testing.wait_all_tasks_blocked()
            self._clock.autojump_threshold = inf
        if self._fault is not None:
            raise self._fault
        return result

    async def _says(self, client: Client, pieces: Sequence[bytes]) -> Outcome:
        await _in_turn(client, pieces)
        answered, _ = await client.hears_all()
        statuses = tuple(int(status) for status in STATUS.findall(answered))
        return Outcome(statuses, tuple(map(_heard, self._heard)))

    async def _asks(self, client: Client, _: Sequence[bytes]) -> Relayed:
        await client.says(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        statuses: list[int] = []
        try:
            while not statuses or statuses[-1] < 200:
                head = await read_response_head(client, "GET")
                statuses.append(head.status)
            await read_body(client, head)
        except Ended:
            return Relayed(tuple(statuses), b"", False)
        assert await client.hears_all() in ((b"", "end"), (b"", "reset"))
        return Relayed(tuple(statuses), b"" if head.status == 502 else head.body, True)

    async def accept(self, nursery: trio.Nursery) -> None:
        while True:
            nursery.start_soon(self._serve, await self._scene.backend.accepts())

    async def _serve(self, peer: Peer) -> None:
        try:
            while True:
                self._heard.append(await peer.hears_request())
                await _in_turn(peer, self._answer)
                if self._ends:
                    peer.ends()
        except (Ended, OSError):
            pass
        except NotHttp as exc:
            self._fault = exc
        peer.closes()


def _heard(request: Request) -> Heard:
    fields = tuple((name, value) for name, value in request.fields if name != "X-Request-Id")
    return Heard(request.start, fields, request.framing, request.body, tuple(request.trailers))


async def _in_turn(line: Line, pieces: Sequence[bytes]) -> None:
    """Each is dealt with before the next one leaves; nobody may want the rest."""
    try:
        for piece in pieces:
            await line.says(piece)
            await trio.testing.wait_all_tasks_blocked()
    except OSError:
        pass


@contextmanager
def opened(patience: float = 30) -> Iterator[House]:
    """A house that stands until the block ends, and then has nothing left in it."""
    built: SimpleQueue[House] = SimpleQueue()
    clock = trio.testing.MockClock()

    async def live() -> None:
        async with running(timeouts=SOON, limits=SMALL) as scene:
            house = House(scene, clock)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(house.accept, nursery)
                built.put(house)
                await house.closing.wait()
                clock.autojump_threshold = 0
                nursery.cancel_scope.cancel()

    with ThreadPoolExecutor(1) as thread:
        life = thread.submit(partial(trio.run, live, clock=clock))
        house = built.get(timeout=patience)
        try:
            yield house
        finally:
            house.closes()
            life.result()
