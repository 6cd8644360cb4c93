"""A balancer without traffic, and clients of its operator's side: in memory, and over a real socket."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
import trio

from admin.application import create_app
from admin.protocol.problems import KINDS
from lb.control import Control
from lb.core.backend import Backend
from lb.core.health.probe_verdict import Check
from lb.core.measures.histogram import Histogram
from lb.core.registry import Registry
from lb.core.running_exchange import WAITING, RunningExchange, Waiter
from lb.core.worker_view import Behind, WorkerEvent, WorkerState, WorkerView
from lb.observe.counters import Metrics
from lb.observe.recorder import Recorder
from lb.settings.balancer_settings import AdminConfig, Config
from tests.core.scene import Request
from tests.core.scene import registry as make_registry

PATIENCE = 5.0
EPOCH = 1_800_000_000.0
WEB1 = {"id": "web1", "url": "http://10.0.0.1:80"}
GET = "GET /healthz HTTP/1.1\nHost: localhost\n"


class Answer(msgspec.Struct):
    """What came back, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def pointers(self) -> list[str]:
        return [error["pointer"] for error in self.json["errors"]]


def is_problem(answer: Answer) -> bool:
    """Whether it is problem+json, in all its parts."""
    report = answer.json
    kind = KINDS[report["type"].removeprefix("/problems/")]
    return bool(
        answer.headers["content-type"] == "application/problem+json"
        and report["status"] == answer.status == kind.status
        and answer.headers["x-request-id"] == report["request_id"]
    )


class Api:
    """A client that speaks to the app without a socket."""

    def __init__(self, control: Control, token: str | None = None) -> None:
        self.control = control
        self.client: Any = create_app(control, token).test_client()

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        form: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        sent = {"Host": "127.0.0.1:9000", **(headers or {})}
        if json is not None:
            body = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        if form is not None:
            body = form.encode()
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        response = await self.client.open(path, method=method, headers=sent, data=body)
        data = await response.get_data(as_text=False)
        return Answer(response.status_code, dict(response.headers), data)


class Holder(Request):
    """A request in flight; like a task that was cancelled, it ends a little after it was cut."""

    def __init__(self, release: Callable[["Holder"], None]) -> None:
        super().__init__()
        self._release = release
        self.was_cut = False

    def cut(self) -> None:
        self.was_cut = True

    def end(self) -> None:
        self._release(self)


class Saves:
    """Stands for the state file."""

    def __init__(self) -> None:
        self.count = 0
        self.has_file = True
        self.error: OSError | None = None

    async def __call__(self) -> bool:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.count += 1
        return self.has_file


class FakeRunning:
    """Stands for the exchanges of the proxy: `begin` adds one, `end` takes those with the id away."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.exchanges: list[RunningExchange] = []
        self.ended: list[tuple[bytes, str]] = []

    def begin(self, exchange_id: str, backend: str | None = "web1", **facts: Any) -> RunningExchange:
        """An exchange that began ten seconds before `started`, and its phase four seconds before."""
        made = {
            "id": exchange_id.encode(),
            "client": "192.0.2.1:5000",
            "listener": "127.0.0.1:8080",
            "method": b"GET",
            "target": b"/slow",
            "pool": "default",
            "backend": backend,
            "phase": "waiting for response",
            "since": self.started - 10,
            "phase_since": self.started - 4,
            "attempts": 1,
            "request_bytes": 0,
            "response_bytes": 0,
        }
        self.exchanges.append(RunningExchange(**{**made, **facts}))
        return self.exchanges[-1]

    def list(self) -> Sequence[RunningExchange]:
        return [*self.exchanges]

    def waiting(self) -> Iterator[Waiter | None]:
        for each in self.exchanges:
            waits = each.phase == WAITING
            yield Waiter(each.pool, each.backend or "", each.phase_since) if waits else None

    def end(self, exchange_id: bytes, why: str) -> bool:
        left = [each for each in self.exchanges if each.id != exchange_id]
        is_there = len(left) < len(self.exchanges)
        if is_there:
            self.exchanges = left
            self.ended.append((exchange_id, why))
        return is_there


class FakeWorkers:
    """Stands for two workers; `refreshed` counts how often somebody has asked for their numbers."""

    def __init__(self, started: float) -> None:
        self.refreshed = 0
        self.are_behind: list[Behind] = []
        self.states: list[WorkerState] = ["serving", "silent"]
        self.tell: list[Callable[[WorkerEvent], None]] = []
        self._since = started - 4.0

    def list(self) -> Sequence[WorkerView]:
        return [self._view(number, state) for number, state in enumerate(self.states, 1)]

    def _view(self, number: int, state: WorkerState) -> WorkerView:
        lags = Histogram()
        lags.observe(0.004)
        return WorkerView(
            number=number,
            pid=4000 + number,
            state=state,
            since=self._since,
            restarts=number - 1,
            connections=10 * number,
            requests=100 * number,
            requests_per_second=12.5,
            lags=lags,
            lag_p99=0.004,
            memory=41_000_000,
            behind=tuple(each for each in self.are_behind if each.worker == number),
        )

    def behind(self) -> Sequence[Behind]:
        return self.are_behind

    async def refresh(self) -> None:
        await trio.lowlevel.checkpoint()
        self.refreshed += 1

    def subscribe(self, tell: Callable[[WorkerEvent], None]) -> None:
        self.tell.append(tell)


class Service:
    """The real server on a free port."""

    def __init__(self, control: Control, host: str, port: int, stop: trio.Event) -> None:
        self.control, self.host, self.port, self.stop = control, host, port, stop

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.host, self.port)

    async def says(self, text: str) -> bytes:
        """Everything that comes back until EOF."""
        with trio.fail_after(PATIENCE):
            return await self._ask(text)

    async def _ask(self, text: str) -> bytes:
        async with await self.connect() as stream:
            await stream.send_all(text.replace("\n", "\r\n").encode())
            return b"".join([chunk async for chunk in stream])


async def ask_once(stream: trio.SocketStream) -> None:
    """One request on a connection that stays open."""
    await stream.send_all(f"{GET}\n".replace("\n", "\r\n").encode())
    answer = b""
    while not answer.endswith(b"}"):
        answer += await stream.receive_some()


class MakeApi(Protocol):
    def __call__(
        self, admin: AdminConfig, token: str | None = None, listening: Sequence[str] = ()
    ) -> Api: ...


class Add(Protocol):
    def __call__(self, backend_id: str, pool: str = "default", **settings: Any) -> Backend: ...


Hold = Callable[[Backend], Holder]
Serve = Callable[[], AbstractAsyncContextManager[Service]]


class Clumsy:
    """A policy of somebody's own that fails."""

    def choose(self, candidates: Sequence[Backend], request: object) -> Backend:
        raise KeyError("nobody")


class Probes:
    """Stands for the task that sends probes: each ends as `result` says."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.result = True, "ok 200", 0.25

    async def check(self, backend: Backend) -> Check:
        if backend.health is None:
            raise LookupError(f"pool {backend.pool!r} has no probe")
        await trio.lowlevel.checkpoint()
        check = Check(*self.result, self.registry.now())
        self.registry.checked(backend, check)
        return check


def make_control(saves: Saves, admin: AdminConfig | None = None) -> Control:
    """A balancer of one empty pool; its clock begins at EPOCH."""
    registry = make_registry(trio.current_time)
    registry.add_pool("default")
    started = trio.current_time()
    return Control(
        config=Config(admin=admin or AdminConfig(listen="127.0.0.1:0")),
        registry=registry,
        metrics=Metrics(),
        recorder=Recorder(),
        save=saves,
        check=Probes(registry).check,
        wall=lambda moment: EPOCH + moment - started,
        listening=["127.0.0.1:8080"],
        started=started,
    )
