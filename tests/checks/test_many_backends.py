"""Ten thousand backends in one pool: no answer or save holds the event loop for long.

The longest step of a task is measured in CPU time, as on a machine of usual speed, and is the best of a few.
The garbage collector is off meanwhile: what it does is not what an act costs.
"""

import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import admin.application
import lb
from admin.event_publisher import EventPublisher
from lb.config.config_source import ConfigSource
from tests.admin.kit import Answer, Api
from tests.core.scene import Request
from tests.kit.held import holding

MANY = 10_000
HELD_SECONDS = 0.030
"""Ten milliseconds are what we want, and what an idle machine shows. Beside other programs one took 28."""
TRIES = 3
Members = Sequence[Mapping[str, object]]
Act = Callable[[], Awaitable[object]]


def members() -> Members:
    urls = (f"http://10.1.{number // 250}.{number % 250 + 1}:80" for number in range(MANY))
    return [{"id": f"b{number}", "url": url} for number, url in enumerate(urls)]


ALL, HALF = members(), members()[::2]
OTHERS = [{**each, "id": f"o{number}"} for number, each in enumerate(ALL)]


def table(members: Members) -> str:
    rows = ",\n".join(map(row, members))
    return f"[pools.default]\nbackends = [{rows}]\n"


def row(member: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in member.items()) + "}"


class House:
    """A balancer of MANY backends, and a client of its API that may send bodies of any length."""

    def __init__(self, balancer: lb.Balancer, file: Path, head: str) -> None:
        self.balancer = balancer
        self._file = file
        self._head = head
        self.registry = balancer.registry
        self.api = Api(balancer.control)

    async def asks(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        answer = await self.api(method, path, json=body, headers=headers)
        assert answer.status in (200, 201, 202, 204, 409), answer.body[:1000]
        return answer

    async def writes(self, members: Members) -> None:
        """Give the file these backends."""
        await trio.to_thread.run_sync(lambda: self._file.write_text(self._head + table(members)))

    def chooses(self) -> None:
        pool, request = self.registry.pool("default"), Request()
        backend, _ = pool.take(request)
        if backend is not None:
            pool.release(backend, request)


@contextmanager
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynccontextmanager
async def house(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(admin.application, "MAX_BODY", 1 << 24)
    file = folder / "lb.toml"
    head = f'listen = ["127.0.0.1:0"]\nstate = "{folder / "state.json"}"\n[admin]\nlisten = "127.0.0.1:0"\n'
    file.write_text(head + table(ALL))
    source = ConfigSource(file, {})
    with collector_off():
        async with lb.open_balancer(source.read(), source) as balancer, trio.open_nursery() as nursery:
            nursery.start_soon(EventPublisher(balancer.control).run)
            made = House(balancer, file, head)
            made.chooses()
            yield made
            nursery.cancel_scope.cancel()


async def longest(*acts: Act) -> tuple[float, str]:
    """The longest step while these are done in turn; where one is too long, the best of a few of each."""
    best = [(1.0, "") for _ in acts]
    for _ in range(TRIES):
        for number, act in enumerate(acts):
            with holding() as held:
                await act()
            best[number] = min(best[number], (held.longest, held.task))
        if max(best)[0] < HELD_SECONDS:
            break
    return max(best)


def put(house: House, members: Members, query: str = "") -> Act:
    return partial(house.asks, "PUT", f"/backends{query}", members)


def what_if(house: House) -> Act:
    return partial(house.asks, "POST", "/whatif", {"remove": ["b1"]}, **{"User-Agent": "curl/8"})


def watched(house: House) -> Act:
    """A second in which the page of an operator reads the numbers."""

    async def watch() -> None:
        feed = house.balancer.control.feed
        reader = feed.join(frozenset({"stats"}))
        await trio.sleep(0.5)
        await reader.wait()
        assert b"event: stats" in reader.take()
        feed.leave(reader)

    return watch


def get(house: House, path: str, **headers: str) -> Act:
    return partial(house.asks, "GET", path, None, **headers)


ANSWERS: dict[str, Callable[[House], Sequence[Act]]] = {
    "a dry run of half": lambda house: [put(house, HALF, "?dry_run=1")],
    "a dry run of one": lambda house: [partial(house.asks, "DELETE", "/backends/b1?dry_run=1")],
    "a save": lambda house: [house.balancer.save],
    "two seconds": lambda _house: [partial(trio.sleep, 2)],
    "a dry run of others": lambda house: [put(house, OTHERS, "?dry_run=1")],
    "what if one left": lambda house: [what_if(house)],
    "a second that is watched": lambda house: [watched(house)],
    "those in one state": lambda house: [get(house, "/backends?state=ready")],
    "the page": lambda house: [get(house, "/", Accept="text/html")],
    "the backends, for curl": lambda house: [get(house, "/backends", **{"User-Agent": "curl/8"})],
    "the backends": lambda house: [get(house, "/backends")],
    "a table": lambda house: [get(house, "/backends?format=table")],
    "numbers": lambda house: [get(house, "/stats")],
    "metrics": lambda house: [get(house, "/metrics")],
    "pools": lambda house: [get(house, "/pools")],
    "the config": lambda house: [get(house, "/config")],
    "the config as a file": lambda house: [get(house, "/config?format=toml")],
}


@pytest.mark.alone
async def test_no_answer_holds_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[str, tuple[float, str]] = {}
    async with house(tmp_path, monkeypatch) as made:
        for name, acts in ANSWERS.items():
            held[name] = await longest(*acts(made))
    assert {name: each for name, each in held.items() if each[0] >= HELD_SECONDS} == {}
