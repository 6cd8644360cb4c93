"""/events: who is told what, over real sockets, and who is told no more."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import admin.resources.events
import admin.server
import admin.transport.admission
import admin.transport.bounded_stream
from admin.event_publisher import FAILURES_A_TICK, QUIET_SECONDS, EventPublisher
from admin.resources.events import PING_SECONDS, STALLED_SECONDS, TYPES, Stream
from admin.transport.binding import bind
from admin.transport.bounded_stream import SEND_SECONDS
from lb.control import Control
from lb.core.drain import Then
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.health.probe_verdict import Check
from lb.core.passed_over import NONE_PASSED_OVER
from lb.errors import Reason
from lb.observe.event_feed import Feed
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import AdminConfig
from lb.settings.pool_settings import PoolSettings, Probe
from lb.slices import at_once
from tests.admin.kit import EPOCH, PATIENCE, Add, Api, Hold, MakeApi, Serve, Service
from tests.kit.time import lasting, virtual_time

ALL = frozenset(TYPES)


class Listener:
    """A client that reads events."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.heard = b""

    async def head(self) -> bytes:
        while b"\r\n\r\n" not in self.heard:
            await self._more()
        head, _, self.heard = self.heard.partition(b"\r\n\r\n")
        return head

    async def event(self, event_type: str) -> Any:
        """The data of the next event of this type; what comes before it is forgotten."""
        pattern = re.compile(rb"event: " + event_type.encode() + rb"\ndata: (.*)\n\n")
        while (found := pattern.search(self.heard)) is None:
            await self._more()
        self.heard = self.heard[found.end() :]
        return msgspec.json.decode(found[1])

    async def rest(self) -> bytes:
        with trio.fail_after(PATIENCE):
            while data := await self.stream.receive_some():
                self.heard += data
        return self.heard

    async def _more(self) -> None:
        with trio.fail_after(PATIENCE):
            data = await self.stream.receive_some()
        assert data, self.heard
        self.heard += data


@asynccontextmanager
async def listening(service: Service, query: str = "", field: str = "") -> AsyncIterator[Listener]:
    """A client whose stream has begun."""
    async with await service.connect() as stream:
        ask = f"GET /events{query} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n"
        await stream.send_all(ask.encode())
        listener = Listener(stream)
        head = await listener.head()
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b"text/event-stream" in head
        while b"retry: 2000" not in listener.heard:
            await listener._more()
        yield listener


@contextmanager
def told(control: Control, types: frozenset[str] = ALL) -> Iterator[Any]:
    """A function that gives what was told since it was called last: (type, data) each."""
    reader = control.feed.join(types)

    def take() -> list[tuple[str, Any]]:
        found = re.findall(rb"event: (\S+)\ndata: (.*)\n", reader.take())
        return [(name.decode(), msgspec.json.decode(data)) for name, data in found]

    yield take
    control.feed.leave(reader)


# -- what is told ------------------------------------------------------------------------------------------


async def test_what_operators_and_probes_do(control: Control, add: Add) -> None:
    EventPublisher(control)
    registry = control.registry
    with told(control) as take:
        registry.configure(registry.pool("default"), PoolSettings(probe=Probe(fall=1)))
        web1 = add("web1")
        registry.change(web1, BackendSpec(id="web1", url="http://10.0.0.1:80", weight=2))
        registry.checked(web1, Check(False, "refused", 0.1, registry.now()))
        registry.maintenance(web1)
        registry.ready(web1)
        registry.remove(web1)
        events = take()
    kinds = [(name, data["kind"]) for name, data in events if data["kind"] not in ("panic", "calm")]
    assert kinds == [
        ("config", "configured"),
        ("backend", "added"),
        ("backend", "changed"),
        ("health", "down"),
        ("backend", "maintenance"),
        ("backend", "ready"),
        ("backend", "removed"),
    ]
    data = next(data for name, data in events if name == "health")
    at = data.pop("at")
    assert at.startswith("2027-01-15T08:00:0")
    assert data == {
        "kind": "down",
        "backend": "web1",
        "pool": "default",
        "state": "down",
        "detail": "refused",
    }
    assert events[0][1]["detail"] == "probe"


@virtual_time
async def test_a_drain_is_told_from_its_beginning_to_its_end(control: Control, add: Add, hold: Hold) -> None:
    publisher, web1 = EventPublisher(control), add("web1")
    held = hold(web1)
    with told(control, frozenset({"drain"})) as take:
        control.registry.drain(web1, 60.0, Then.KEEP)
        for _ in range(3):
            at_once(publisher.ticking(trio.current_time))
            await trio.sleep(1)
        events = [data for _type, data in take()]
        assert [data["kind"] for data in events] == ["draining", "progress"]  # the newest replaces
        assert (events[1]["deadline_seconds"], events[1]["duration_seconds"]) == (58.0, 2.0)
        held.end()
        ((_, drained),) = take()
        at_once(publisher.ticking(trio.current_time))
        assert take() == []
    drained.pop("at")
    assert drained == {
        "kind": "drained",
        "backend": "web1",
        "pool": "default",
        "remaining": 0,
        "started_with": 1,
        "deadline_seconds": None,
        "duration_seconds": 3.0,
        "aborted": 0,
        "detail": "after 3.00 s",
    }


async def test_failures_that_nobody_was_told_of_are_counted_too(control: Control) -> None:
    publisher = EventPublisher(control)
    with told(control, frozenset({"request_failed"})) as take:
        publisher._failed(failure(0), untold=20)
        for number in range(FAILURES_A_TICK):
            publisher._failed(failure(number), untold=10)
        at_once(publisher.ticking(lambda: 1.0))
        publisher._failed(failure(9), untold=3)
        untold = [data["untold"] for _type, data in take()]
    assert untold == [20, *[10] * (FAILURES_A_TICK - 1), 10 + 1 + 3]


def failure(number: int) -> ExchangeRecord:
    exchange = ExchangeRecord(b"id%d" % number, "127.0.0.1:8080", "192.0.2.1:5", 1.0)
    exchange.method, exchange.target, exchange.pool = b"GET", b"/\x1b", "default"
    exchange.status, exchange.reason, exchange.ended = 502, Reason.CONNECTION_REFUSED, 1.5
    return exchange


async def test_requests_that_fail_are_told_a_few_times_a_second(control: Control, add: Add) -> None:
    publisher = EventPublisher(control)
    first = failure(0)
    first.attempts.append(AttemptRecord(add("web1"), NONE_PASSED_OVER, 1.0))
    with told(control, frozenset({"request_failed"})) as take:
        control.recorder.finished(first)
        for number in range(1, 100):
            control.recorder.finished(failure(number))
        events = [data for _type, data in take()]
        assert len(events) == FAILURES_A_TICK
        at_once(publisher.ticking(lambda: 1.0))
        control.recorder.finished(failure(100))
        assert [data["untold"] for _type, data in take()] == [100 - FAILURES_A_TICK]
    events[0].pop("at")
    assert events[0] == {
        "id": "id0",
        "client": "192.0.2.1:5",
        "method": "GET",
        "target": "/\\x1b",
        "status": 502,
        "error": "connection_refused",
        "detail": "",
        "pool": "default",
        "backend": "web1",
        "attempts": 1,
        "seconds": 0.5,
        "untold": 0,
    }


@virtual_time
async def test_a_policy_that_fails_for_each_request_is_told_now_and_then(control: Control, add: Add) -> None:
    EventPublisher(control)
    pool = control.registry.pool("default")
    control.registry.configure(pool, PoolSettings(policy="tests.admin.kit:Clumsy"))
    add("web1")
    with told(control, frozenset({"config"})) as take:
        for _ in range(2):
            for _ in range(50):
                pool.policy.choose([*pool.backends], None)  # type: ignore[arg-type]
            ((_, data),) = take()
            assert (data["kind"], data["detail"]) == ("policy failed", "KeyError: 'nobody'")
            await trio.sleep(QUIET_SECONDS)


async def test_what_cannot_be_encoded_is_told_nevertheless(control: Control, add: Add) -> None:
    EventPublisher(control)
    pool = control.registry.pool("default")
    with told(control) as take:
        control.registry._pool_happened("new kind", pool, "\ud800")
        control.registry._happened("new kind", add("web1"), "\ud800")
        assert [data["detail"] for _type, data in take()] == ["\\ud800", "http://10.0.0.1:80", "\\ud800"]


@virtual_time
async def test_numbers_are_told_each_second_while_somebody_reads(control: Control, add: Add) -> None:
    add("web1")
    publisher = EventPublisher(control)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publisher.run)
        with told(control, frozenset({"stats"})) as take:
            await trio.sleep(2.5)
            ((name, data),) = take()
        nursery.cancel_scope.cancel()
    assert (name, data["uptime_seconds"]) == ("stats", 2.0)
    assert "history" not in data["totals"]
    assert data["backends"][0]["id"] == "web1"


async def test_the_balancer_itself(api: Api, control: Control) -> None:
    publisher = EventPublisher(control)
    with told(control, frozenset({"balancer"})) as take:
        for method in ("POST", "POST", "DELETE", "DELETE"):
            await api(method, "/drain")
        control.stopping = True
        at_once(publisher.ticking(lambda: 1.0))
        at_once(publisher.ticking(lambda: 2.0))
        assert [data["kind"] for _type, data in take()] == ["draining", "ready", "stopping"]


async def test_ids_begin_with_the_time_so_that_they_grow_over_a_restart(control: Control) -> None:
    reader = control.feed.join(ALL)
    control.feed.publish("health", {})
    assert reader.take().startswith(b"id: %d\n" % (EPOCH * 1000 + 1))


# -- over sockets ------------------------------------------------------------------------------------------


async def test_events_arrive_as_they_happen_and_are_replayed(
    serve: Serve, control: Control, add: Add
) -> None:
    async with serve() as service:
        async with listening(service, "?types=backend") as listener:
            web1 = add("web1")
            assert (await listener.event("backend"))["backend"] == "web1"
            last = control.feed._last
            control.registry.maintenance(web1)
            assert (await listener.event("backend"))["state"] == "maintenance"
        for query, field in (
            ("?types=backend", f"Last-Event-ID: {last}\r\n"),
            (f"?types=backend&last_event_id={last}", ""),
            ("?types=backend&last_event_id=1", f"Last-Event-ID: {last}\r\n"),
        ):
            async with listening(service, query, field) as again:
                assert (await again.event("backend"))["kind"] == "maintenance"
                assert b"missed" not in again.heard
        async with listening(service, "?types=stats&last_event_id=1") as old:
            assert await old.event("missed") == {"after": "1"}
            assert (await old.event("stats"))["backends"][0]["id"] == "web1"


async def test_a_client_that_leaves_leaves_nothing(serve: Serve, control: Control) -> None:
    async with serve() as service:
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            async with listening(service, "?types=backend"):
                assert control.feed.readers == 1
            with trio.fail_after(PATIENCE):
                while trio.lowlevel.current_statistics().tasks_living > tasks:  # noqa: ASYNC110
                    await trio.sleep(0.005)
            assert control.feed.readers == 0
    assert control.feed.dropped == 0


async def test_a_stop_ends_streams_at_once_and_properly(serve: Serve) -> None:
    async with serve() as service, listening(service) as one, listening(service) as two:
        began = trio.current_time()
        service.stop.set()
        for listener in (one, two):
            assert (await listener.rest()).endswith(b'{"why":"stopping"}\n\n\r\n0\r\n\r\n')
    assert trio.current_time() - began < 0.5


async def test_of_a_hundred_readers_one_never_reads(
    serve: Serve, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dropped and harms nobody: all others hear everything, and the stop is not held."""
    for module in (admin.server, admin.transport.admission):
        monkeypatch.setattr(module, "most_connections", lambda: 400)
    monkeypatch.setattr(admin.transport.bounded_stream, "SEND_SECONDS", 2.0)
    monkeypatch.setattr(admin.resources.events, "STALLED_SECONDS", 2.0)
    text = "x" * 2000
    heard: Counter[int] = Counter()

    async def bind_small(listen: str, inherited: Sequence[int] = ()) -> list[trio.SocketListener]:
        listeners = await bind(listen)
        for listener in listeners:  # whom we accept inherits it
            listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
        return listeners

    monkeypatch.setattr(admin.server, "bind", bind_small)

    async def read(service: Service, *, task_status: trio.TaskStatus[None]) -> None:
        async with listening(service, "?types=config") as listener:
            task_status.started()
            for number in range(30):
                assert (await listener.event("config"))["n"] == number
                heard[number] += 1

    async with serve() as service:
        async with await service.connect() as deaf:
            deaf.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await deaf.send_all(b"GET /events?types=config HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with trio.open_nursery() as nursery:
                for _ in range(99):
                    await nursery.start(read, service)
                assert control.feed.readers == 100
                for number in range(30):
                    control.feed.publish("config", {"n": number, "text": text})
                    while heard[number] < 99:  # noqa: ASYNC110
                        await trio.sleep(0.005)
            with trio.fail_after(PATIENCE):
                while control.feed.readers:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            assert control.feed.dropped == 1
            assert b"lb_event_readers_dropped_total 1.0" in await service.says("GET /metrics HTTP/1.0\n\n")


async def test_so_many_readers_and_no_more(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.server, "most_connections", lambda: 4)
    get = "GET /events HTTP/1.1\nHost: localhost\nConnection: close\n\n"
    async with serve() as service, listening(service), listening(service):
        answer = await service.says(get)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"/problems/too-many-readers" in answer


# -- the stream --------------------------------------------------------------------------------------------


@virtual_time
async def test_silence_is_broken_by_a_ping() -> None:
    feed = Feed(0)
    async with Stream(feed, ALL, None) as stream:
        assert await anext(stream) == admin.resources.events.HELLO
        for _ in range(2):
            with lasting(PING_SECONDS):
                assert await anext(stream) == b": ping\n\n"
        await trio.sleep(STALLED_SECONDS - 0.1)  # that slow may it be
        feed.publish("health", {})
        assert b"health" in await anext(stream)
    assert (feed.readers, feed.dropped) == (0, 0)


@virtual_time
async def test_who_takes_too_long_for_a_chunk_is_dropped() -> None:
    feed = Feed(0)
    async with Stream(feed, ALL, None) as stream:
        await anext(stream)
        await trio.sleep(STALLED_SECONDS)
        assert b"too slow" in await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    async with Stream(feed, ALL, None) as stream:
        await anext(stream)
        await trio.sleep(STALLED_SECONDS)
    assert (feed.readers, feed.dropped) == (0, 2)


@virtual_time
async def test_who_waits_for_long_was_not_slow() -> None:
    feed = Feed(0)
    async with Stream(feed, ALL, None) as stream:
        await anext(stream)
        with trio.move_on_after(PING_SECONDS - 1):
            await anext(stream)
    assert (feed.readers, feed.dropped) == (0, 0)


def test_a_send_is_given_as_long_as_the_server_gives_it() -> None:
    assert STALLED_SECONDS == SEND_SECONDS


# -- who may, and how --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "parameter"), [("?types=helth", "types"), ("?types=", "types"), ("?x=1", "x")]
)
async def test_mistakes_are_named(api: Api, query: str, parameter: str) -> None:
    answer = await api("GET", f"/events{query}")
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, parameter)


async def test_a_head_has_no_stream(serve: Serve, control: Control) -> None:
    async with serve() as service:
        answer = await service.says("HEAD /events HTTP/1.1\nHost: localhost\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")
    assert b"text/event-stream" in answer
    assert b"content-length" not in answer.lower()
    assert control.feed.readers == 0


async def test_the_token_and_the_host_are_looked_at(make_api: MakeApi) -> None:
    api = make_api(AdminConfig(listen="127.0.0.1:9000"), token="secret")
    assert (await api("GET", "/events")).status == 401
    assert (await api("GET", "/events", headers={"Host": "evil.example"})).status == 421


async def test_an_act_has_a_name_and_what_ends_by_itself_has_none(
    control: Control, add: Add, hold: Hold
) -> None:
    api, key = Api(control, "secret"), {"Authorization": "Bearer secret"}
    EventPublisher(control)
    holder = hold(add("web1"))
    await api("POST", "/backends/web1/drain", headers=key)
    holder.end()
    told = {data["kind"]: data.get("by") for data in kept(control, "backend", "drain")}
    assert told == {"added": None, "draining": "admin", "drained": None}
    await api("PATCH", "/pools/default", form="policy=ewma", headers=key)
    await api("POST", "/drain", headers=key)
    assert [data["by"] for data in kept(control, "config", "balancer")] == ["admin", "admin"]


def kept(control: Control, *types: str) -> list[Any]:
    """The events of these types, the oldest first."""
    frames = control.feed.newest(frozenset(types), 100)
    return [msgspec.json.decode(frame.body) for frame in reversed(frames)]


async def test_openapi_has_what_data_may_be(api: Api) -> None:
    document = (await api("GET", "/openapi.json")).json
    answer = document["paths"]["/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    data = answer["schema"]["properties"]["data"]
    assert {"$ref": "#/components/schemas/DrainEvent"} in data["contentSchema"]["oneOf"]
    assert document["components"]["schemas"]["DrainEvent"]["properties"]["remaining"]


async def test_a_crash_of_the_ticking_is_a_crash_of_the_service_and_no_more(
    serve: Serve, control: Control, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking, crashes = EventPublisher.ticking, iter([RuntimeError("boom")])

    def crash_first(self: EventPublisher, now: Callable[[], float]) -> Generator[None, None, None]:
        for crash in crashes:
            raise crash
        return ticking(self, now)

    monkeypatch.setattr(admin.server, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(EventPublisher, "ticking", crash_first)
    async with serve() as service:
        await trio.sleep(0.05)
        async with listening(service, "?types=stats") as listener:
            assert (await listener.event("stats"))["totals"]["backends"] == 0
    assert control.metrics.admin_restarts == 1
