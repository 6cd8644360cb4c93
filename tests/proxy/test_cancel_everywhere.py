"""A client connection is cancelled at every step of its tasks, and nothing of it may be left.

`running` asserts what must hold afterwards: nothing in flight, an empty queue, no socket without an owner,
every exchange told once, every counter balanced. The tests assert that the balancer still serves.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from lb.proxy.client_side.connection import ClientConnection as Served
from lb.proxy.client_side.connection_task import ConnectionTask
from tests.kit import (
    OK,
    Backend,
    Ended,
    Peer,
    Refusing,
    Scene,
    Steps,
    running,
    until_not_reached,
    virtual_time,
)
from tests.kit.wires import over_all_wires

pytestmark = [virtual_time, over_all_wires]

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
UPGRADE = b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
LARGE = 1 << 20
UPLOAD = b"PUT %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


def get(target: bytes, *, last: bool = True) -> bytes:
    end = b"Connection: close\r\n\r\n" if last else b"\r\n"
    return b"GET %b HTTP/1.1\r\nHost: a\r\n" % target + end


# -- the backend, which does what the target says ---------------------------------------------------------


async def serve(backend: Backend) -> None:
    failed: set[str] = set()
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(serve_one, await backend.accepts(), failed)


async def serve_one(peer: Peer, failed: set[str]) -> None:
    with suppress(Ended, OSError):
        while await serve_request(peer, failed):
            pass
    peer.closes()


async def serve_request(peer: Peer, failed: set[str]) -> bool:
    request = await peer.hears_head()
    match request.target:
        case "/fails-once" if not failed:
            failed.add(request.target)
            return False
        case "/silent":
            await peer.hears_all()
        case "/early":
            await peer.says(OK)
            await peer.hears_all()
        case "/large":
            with suppress(OSError):
                await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE, bytes(LARGE))
            return True
        case "/tunnel":
            await peer.says(SWITCHED + b"go")
            while True:
                await peer.says(await peer.take(1))
    await peer.hears_body(request)
    await peer.says(OK)
    return True


# -- what clients do; each tells what its client heard ----------------------------------------------------


async def two_requests(lb: Scene) -> bytes:
    client = await lb.asks(get(b"/1", last=False) + get(b"/2"))
    return (await client.hears_all())[0]


async def one_by_one(lb: Scene) -> bytes:
    """Requests of which the fast path serves all but the first."""
    client, heard = await lb.client(), b""
    with suppress(Ended, OSError):
        for number in range(4):
            await client.says(get(b"/", last=number == 3))
            heard += await client.take_until(b"ok")
    return heard + (await client.hears_all())[0]


async def upload(lb: Scene) -> bytes:
    client = await lb.asks(UPLOAD % b"/")
    with suppress(OSError):
        for _ in range(3):
            await client.says(b"8000\r\n", bytes(0x8000), b"\r\n")
            await trio.testing.wait_all_tasks_blocked()
        await client.says(b"0\r\n\r\n")
    return (await client.hears_all())[0]


async def by_pipe(lb: Scene) -> bytes:
    """A body of known length that goes up by pipe, and one that comes down by pipe."""
    client = await lb.asks(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE)
    with suppress(OSError):
        await client.says(bytes(LARGE))
        await client.says(get(b"/large"))
    return (await client.hears_all())[0]


async def early_answer(lb: Scene) -> bytes:
    client = await lb.asks(UPLOAD % b"/early")
    with suppress(OSError):
        await client.says(b"5\r\nhello\r\n")
    return (await client.hears_all())[0]


async def retry(lb: Scene) -> bytes:
    """A refused connection, an idle one that has gone stale, and a new one."""
    client = await lb.asks(get(b"/", last=False) + get(b"/fails-once"))
    return (await client.hears_all())[0]


async def tunnel(lb: Scene) -> bytes:
    client = await lb.asks(UPGRADE)
    heard = b""
    with suppress(Ended, OSError):
        heard = await client.take_until(b"go")
        await client.says(b"ping")
        heard += await client.take(4)
        client.ends()
    return heard + (await client.hears_all())[0]


async def drain_cut(lb: Scene) -> bytes:
    client = await lb.asks(get(b"/silent"))
    await trio.testing.wait_all_tasks_blocked()
    for backend in lb.registry.backends.values():
        lb.registry.drain(backend, 1.0)
    heard, _ = await client.hears_all()
    for backend in lb.registry.backends.values():
        lb.registry.ready(backend)
    return heard


async def queued(lb: Scene) -> bytes:
    """The second client waits until the first one leaves."""
    first = await lb.asks(get(b"/silent"))
    await trio.testing.wait_all_tasks_blocked()
    second = await lb.asks(get(b"/"))
    await trio.testing.wait_all_tasks_blocked()
    first.resets()
    return (await second.hears_all())[0]


STORIES: dict[Callable[[Scene], Awaitable[bytes]], tuple[bytes, int]] = {
    two_requests: (b"HTTP/1.1 200 OK", 2),
    one_by_one: (b"HTTP/1.1 200 OK", 4),
    upload: (b"HTTP/1.1 200 OK", 1),
    by_pipe: (b"HTTP/1.1 200 OK", 2),
    early_answer: (b"HTTP/1.1 200 OK", 1),
    retry: (b"HTTP/1.1 200 OK", 2),
    tunnel: (b"goping", 1),
    drain_cut: (b"HTTP/1.1 503 Service Unavailable", 1),
    queued: (b"HTTP/1.1 200 OK", 1),
}


class Victim:
    """One client connection, in a scope of its own, and what can happen to it from outside."""

    def __init__(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._scope = trio.CancelScope()
        self._client: Served | None = None
        self._before = number
        attend, serve = Served.attend, ConnectionTask.serve

        def noted(client: Served, received: bytes) -> None:
            self._before -= 1
            if not self._before:
                self._client = client
            attend(client, received)

        async def scoped(task: ConnectionTask) -> None:
            if task._connection is not self._client:
                return await serve(task)
            with self._scope:
                await serve(task)

        monkeypatch.setattr(Served, "attend", noted)
        monkeypatch.setattr(ConnectionTask, "serve", scoped)

    def suffers(self, what: str) -> None:
        if what == "cancelled":
            self._scope.cancel()
        elif self._client is not None:
            {"cut": self._client.cut, "gone": self._client.gone}[what]()


@pytest.mark.parametrize("what", ["cancelled", "cut", "gone"])
@pytest.mark.parametrize("story", STORIES)
async def test_nothing_is_left_of_it(
    story: Callable[[Scene], Awaitable[bytes]], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 2 if story is queued else 1
    kinds = (Refusing, Backend) if story is retry else (Backend,)
    heard = b""

    async def run(step: int) -> Steps:
        nonlocal heard
        with monkeypatch.context() as patch:
            victim = Victim(number, patch)
            steps = Steps(step, lambda: victim.suffers(what), number)
            async with running(*kinds, each={"max_in_flight": 1}) as lb, trio.open_nursery() as nursery:
                nursery.start_soon(serve, lb.backend)
                trio.lowlevel.add_instrument(steps)
                heard = await story(lb)
                trio.lowlevel.remove_instrument(steps)
                await (await lb.asks(get(b"/after"))).hears(200)
                nursery.cancel_scope.cancel()
        return steps

    assert await until_not_reached(run) >= 3
    expected, times = STORIES[story]
    assert heard.count(expected) == times, f"and undisturbed it heard {heard!r}"
