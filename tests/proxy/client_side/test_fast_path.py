"""The fast path: an exchange served by it looks in every respect as if the task had served it.

Each dialogue is run with the fast path and without it. Both runs must have the same results: what both
parties received, and the records. `test_cancel_everywhere` cancels exchanges in the middle of the fast path.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from lb.core.pool import Pool
from lb.net.wire import Wire
from lb.proxy.acceptor import Server
from lb.proxy.exchange.exchange import Exchange
from tests.http1.real_heads import CLIENTS, FRONTS, behind, head
from tests.kit import GET, OK, Client, Ended, Line, Peer, Request, Scene, answer, running, virtual_time
from tests.kit.cancel import OWNER

pytestmark = virtual_time

PAUSE, CLOSE = b"<pause>", b"<close>"
"""What a party does between sends: wait until all tasks are blocked, or close the connection."""
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECT = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
BEHIND = head(behind(FRONTS["Fastly"], CLIENTS["curl"]))
H2C = head(CLIENTS["Java 11"])
OFFER = head(CLIENTS["Apache HttpClient 5.4"])
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n"
LARGE = answer(bytes(300_000))

DIALOGUES: dict[str, tuple[Sequence[bytes], Sequence[bytes]]] = {
    "plain": ([GET], [OK]),
    "plain, and again": ([GET, PAUSE, GET], [OK]),
    "at once, and again": ([GET + GET], [OK]),
    "said before the answer": ([GET, PAUSE, GET], [PAUSE, PAUSE, OK]),
    "a body": ([POST + b"hello"], [OK]),
    "a body behind its head": ([POST, PAUSE, b"hello"], [OK]),
    "a body in pieces": ([POST + b"he", PAUSE, b"llo"], [OK]),
    "more than a body": ([POST + b"hello" + GET], [OK]),
    "a chunked body": (
        [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
        [OK],
    ),
    "too long a body": ([b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n" + bytes(101)], [OK]),
    "half a head": ([GET[:10], PAUSE, GET[10:]], [OK]),
    "half a head, and the end": ([GET[:10], CLOSE], [OK]),
    "an empty line first": ([b"\r\n", PAUSE, GET], [OK]),
    "an old client": ([b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"], [OK]),
    "an old client that would stay": ([b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n"], [OK]),
    "an old client without a Host, and the end": ([b"GET / HTTP/1.0\r\n\r\n", CLOSE], [OK]),
    "an old client, and an answer in chunks": (
        [b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"],
        [CHUNKED + b"2\r\nok\r\n0\r\n\r\n"],
    ),
    "an old client that sends more": ([b"GET / HTTP/1.0\r\nHost: a\r\n\r\n" + GET], [OK]),
    "behind a proxy": ([BEHIND, PAUSE, BEHIND], [OK]),
    "a whole URL": ([b"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n"], [OK]),
    "h2c": ([H2C, PAUSE, GET], [OK]),
    "TLS is offered and not taken": ([OFFER, PAUSE, GET], [OK]),
    "an upgrade": ([OFFER, PAUSE, b"hello", PAUSE, CLOSE], [SWITCHED, PAUSE, b"hi", PAUSE, CLOSE]),
    "an upgrade, and more behind it": ([OFFER + b"hello", PAUSE, CLOSE], [SWITCHED + b"hi", PAUSE, CLOSE]),
    "an upgrade that was not offered": ([H2C], [SWITCHED]),
    "a body that is expected": ([EXPECT, PAUSE, b"hello"], [b"HTTP/1.1 100 Continue\r\n\r\n", PAUSE, OK]),
    "a body that comes unasked": ([EXPECT + b"hello"], [b"HTTP/1.1 100 Continue\r\n\r\n", PAUSE, OK]),
    "a body that is expected and refused": ([EXPECT], [answer(b"no", status="417 Expectation Failed")]),
    "a client that wants no more": ([b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"], [OK]),
    "a client that leaves": ([GET, PAUSE, CLOSE], [PAUSE, PAUSE, OK]),
    "HEAD": ([GET.replace(b"GET", b"HEAD")], [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"]),
    "OPTIONS for us": ([b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"], [OK]),
    "a bad request": ([b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"], [OK]),
    "no backend": ([b"GET /nowhere/ HTTP/1.1\r\nHost: a\r\n\r\n"], [OK]),
    "no content": ([GET], [b"HTTP/1.1 204 No Content\r\n\r\n"]),
    "a chunked answer": ([GET], [CHUNKED + b"2\r\nok\r\n0\r\n\r\n"]),
    "a chunked answer in pieces": ([GET], [CHUNKED, PAUSE, b"2\r\nok\r\n", PAUSE, b"0\r\nA: b\r\n\r\n"]),
    "a broken chunk": ([GET], [CHUNKED + b"nonsense\r\n"]),
    "an answer in pieces": ([GET], [OK[:9], PAUSE, OK[9:30], PAUSE, OK[30:-1], PAUSE, OK[-1:]]),
    "a body in more pieces": ([GET, PAUSE, GET], [OK[:-2], PAUSE, OK[-2:-1], PAUSE, OK[-1:]]),
    "a body in pieces, and more": ([GET], [OK[:-1], PAUSE, OK[-1:] + b"!"]),
    "a body in pieces, and the end": ([GET], [OK[:-1], PAUSE, OK[-1:], CLOSE]),
    "a body in pieces that stops": ([GET], [OK[:-2], PAUSE, OK[-2:-1]]),
    "half a body, and then the end": ([GET], [OK[:-1], PAUSE, CLOSE]),
    "a client that leaves within a body": ([GET, PAUSE, PAUSE, CLOSE], [OK[:-1], PAUSE, PAUSE, OK[-1:]]),
    "a large answer": ([GET], [LARGE]),
    "half an answer": ([GET], [OK[:-1], CLOSE]),
    "half a head of an answer": ([GET], [OK[:20], CLOSE]),
    "an answer until the end": ([GET], [b"HTTP/1.1 200 OK\r\n\r\nok", CLOSE]),
    "an answer and the end": ([GET, PAUSE, GET], [OK, CLOSE]),
    "an answer that says close": ([GET], [answer(b"ok", "Connection: close")]),
    "more than an answer": ([GET], [OK + b"!"]),
    "an interim answer": ([GET], [b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK]),
    "no HTTP": ([GET], [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"]),
    "no answer": ([GET], [PAUSE, CLOSE]),
    "no answer to a POST": ([POST + b"hello"], [PAUSE, CLOSE]),
    "silence": ([GET], [PAUSE]),
}
SETTINGS: dict[str, Any] = {
    "limits": {"request_body": 100},
    "timeouts": {"keepalive": 31, "request_head": 32, "response_head": 33, "response_idle": 34},
    "pools": {"default": {}, "nobody": {}},
    "routes": [{"path": "/nowhere", "pool": "nobody"}],
}
LONGER_THAN_ANY_TIMEOUT = 500.0
VARYING = re.compile(rb"(Date|X-Request-Id|Via|X-Forwarded-For): [^\r]+|\d+ s\b|127\.0\.0\.1:\d+")


class Left(NamedTuple):
    """The results of a dialogue, without what differs each time, such as ids."""

    heard_by_backend: list[bytes]
    heard_by_client: tuple[bytes, str]
    seconds: float
    records: list[tuple[object, ...]]
    failures: dict[Any, int]


@pytest.mark.parametrize("name", DIALOGUES)
async def test_it_is_as_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_lane = await held(*DIALOGUES[name])
    monkeypatch.setattr(Wire, "can_be_watched", False)
    assert with_lane == await held(*DIALOGUES[name])


async def held(request: Sequence[bytes], response: Sequence[bytes]) -> Left:
    """The dialogue, on connections that have carried an exchange already."""
    heard: list[Request] = []
    said, seconds, began = (b"", "left"), 0.0, trio.current_time()

    async def listen(client: Client) -> None:
        nonlocal said
        with suppress(OSError, trio.ClosedResourceError):  # it has closed the connection
            said = await client.hears_all()
        nonlocal seconds
        seconds = trio.current_time() - began

    async with running(**SETTINGS) as lb:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, lb, response, heard, nursery)
            client = await lb.asks(GET)
            await client.hears(200)
            nursery.start_soon(listen, client)
            await say(client, request)
            await trio.sleep(LONGER_THAN_ANY_TIMEOUT)
            nursery.cancel_scope.cancel()
        return Left(
            [VARYING.sub(rb"\1", message.head + message.body) for message in heard],
            (VARYING.sub(rb"\1", said[0]), said[1]),
            seconds,
            [record_of(lb, number) for number in range(len(lb.exchanges))],
            dict(lb.metrics.failures),
        )


async def answer_all(
    lb: Scene, response: Sequence[bytes], heard: list[Request], nursery: trio.Nursery
) -> None:
    """The very first request is answered plainly, each other one as the dialogue says."""
    while True:
        nursery.start_soon(answer_one, await lb.backend.accepts(), response, heard)


async def answer_one(peer: Peer, response: Sequence[bytes], heard: list[Request]) -> None:
    try:
        while peer.is_open:
            heard.append(await peer.hears_request())
            await say(peer, response if len(heard) > 1 else [OK])
    except (Ended, OSError):
        peer.closes()


async def say(line: Line, words: Sequence[bytes]) -> None:
    for word in words:
        if word is PAUSE:
            await trio.testing.wait_all_tasks_blocked()
        elif word is CLOSE:
            line.closes()
        else:
            await line.says(word)


def record_of(lb: Scene, number: int) -> tuple[object, ...]:
    """What stays of an exchange, and whether each of its moments came."""
    exchange = lb.exchanges[number]
    attempts = [
        (a.backend.id, a.reused, a.reason, a.connected is None, a.first_byte is None, [*a.passed_over])
        for a in exchange.attempts
    ]
    assert exchange.ended is not None
    numbers = exchange.request_bytes, exchange.response_bytes, exchange.ended - exchange.started
    return (
        exchange.method,
        exchange.target,
        exchange.status,
        exchange.reason,
        exchange.pool,
        numbers,
        attempts,
    )


# -- the fast path itself ---------------------------------------------------------------------------------


class Sleeper(trio.abc.Instrument):
    """Counts how often the task of a client connection runs."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += OWNER in task.name


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (GET, OK),
        (POST + b"hello", OK),
        (GET, CHUNKED + b"2\r\nok\r\n0\r\n\r\n"),
        (GET, answer(bytes(16_000))),
    ],
)
async def test_the_task_sleeps_meanwhile(request_: bytes, response: bytes) -> None:
    async with running() as lb, lb.backend.answering(response):
        client = await lb.asks(request_)
        await client.hears(200)
        await trio.testing.wait_all_tasks_blocked()
        sleeper = Sleeper()
        trio.lowlevel.add_instrument(sleeper)
        for _ in range(5):
            await client.says(request_)
            await client.hears(200)
        trio.lowlevel.remove_instrument(sleeper)
        assert sleeper.steps == 0


STAYS = {
    name: head(lines)
    for name, lines in {
        **CLIENTS,
        **{f"curl behind {name}": behind(front, CLIENTS["curl"]) for name, front in FRONTS.items()},
    }.items()
    if not re.search(rb"^HEAD|HTTP/1.0|: close|, close|\nContent-Length: [1-9]|chunked\r", head(lines))
}


@pytest.mark.parametrize("trusted", [False, True])
async def test_the_task_sleeps_for_every_head_that_is_really_sent(trusted: bool) -> None:
    proxies: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8", "unix"]} if trusted else {}
    assert len(STAYS) > 40
    async with running(**proxies) as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        for name, request in STAYS.items():
            await trio.testing.wait_all_tasks_blocked()
            sleeper = Sleeper()
            trio.lowlevel.add_instrument(sleeper)
            await client.says(request)
            await client.hears(200)
            trio.lowlevel.remove_instrument(sleeper)
            assert sleeper.steps == 0, name


@pytest.mark.parametrize("last", ["ab", "ab -k", "urllib", "an old probe"])
async def test_a_connection_for_one_request_has_no_task(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as lb, lb.backend.answering(OK):
        await (await lb.asks(GET)).hears(200)
        monkeypatch.setattr(Server, "start_task", None)
        for _ in range(8):
            client = await lb.asks(head(CLIENTS[last]))
            heard, how = await client.hears_all()
            assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: close\r\n" in heard
            assert heard.endswith(b"\r\n\r\nok")
            assert how == "end"
        assert [each.status for each in lb.exchanges] == [200] * 9


@pytest.mark.pure
async def test_a_bug_in_the_lane_ends_that_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as lb, lb.backend.answering(OK):
        lb.errors_expected = 2
        first, second, third = [await lb.asks(GET) for _ in range(3)]
        for client in (first, second, third):
            await client.hears(200)
        for client, (kind, method) in ((first, (Pool, "take")), (second, (Exchange, "respond"))):
            with monkeypatch.context() as patch:
                patch.setattr(kind, method, fail_once(getattr(kind, method)))
                await client.says(GET)
                await client.hears_all()
        await third.says(GET)
        await third.hears(200)


@pytest.mark.pure
async def test_who_is_ended_by_what_the_lane_does_is_not_woken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step cancels its own task today, but if one did, waking it twice would end the whole balancer."""

    def cut(exchange: Exchange) -> None:
        exchange.cut()

    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        monkeypatch.setattr(Exchange, "set_out", cut)
        await client.says(GET)
        await client.hears(503)


def fail_once(method: Any) -> Any:
    """The method, replaced by one that raises on its first call."""
    calls = []

    def failing(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return method(*arguments)

    return failing
