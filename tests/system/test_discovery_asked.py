"""The real program finds its backends by servers that it asks: Docker, Kubernetes, Consul, a list over HTTP.

These are scripted, with real sockets. A change is in use in time, and neither errors nor empty answers cost a
request.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.discovery.test_http_lists import Inventory
from tests.kit import answer
from tests.kit.consul_server import ScriptedConsul, instance
from tests.kit.docker_server import Box, ScriptedDocker
from tests.kit.kubernetes_server import ScriptedKubernetes, a_slice, endpoint
from tests.kit.scripted import ScriptedServer
from tests.system.program import program

GRACE = 0.5
LOOK = 0.1
POOL = """
[[routes]]
host = "{name}"
pool = "{name}"
[[pools.{name}.discover]]
{source}
grace = "500ms"
settle = "200ms"
"""


class Found(ABC):
    """A server that tells of backends, each known by the port at which it serves."""

    name: str
    server: ScriptedServer
    source: str
    in_time = 1.0
    """Seconds until a change has to be in use."""

    @abstractmethod
    async def has(self, *ports: int) -> None:
        """From now on these are there, and it says so."""

    async def breaks(self) -> None:
        """Whatever it is asked, it answers with errors and garbage."""
        for number in range(1000):
            said = b"garbage\r\n\r\n" if number % 2 else answer(b"oh", status="500 Oh")
            self.server.instead.append(said)
        await self.server.ends_streams(well=False)

    async def is_well(self) -> None:
        self.server.instead.clear()


class FoundByDocker(Found):
    name = "docker"

    def __init__(self, folder: Path) -> None:
        self.server = self.docker = ScriptedDocker(path=folder / "docker.sock")
        self.source = f'docker = "{self.server.url}"'

    def box(self, port: int) -> Box:
        return Box(f"box-{port}", "127.0.0.1", {"lb.pool": "docker"}, (port,))

    async def has(self, *ports: int) -> None:
        boxes = [self.box(port) for port in ports]
        self.docker.boxes = {box.name: box for box in boxes}
        await self.docker.tells("start", (boxes or [Box("gone")])[-1])


class FoundByKubernetes(Found):
    name = "kubernetes"

    def __init__(self, _folder: Path) -> None:
        self.server = self.api = ScriptedKubernetes()
        self.source = f'kubernetes = "shop/web:http"\napi = "{self.server.url}"'

    async def has(self, *ports: int) -> None:
        wanted = {
            f"web-{port}": a_slice(
                f"web-{port}", endpoint(f"web-{port}", "127.0.0.1"), ports=[("http", port)]
            )
            for port in ports
        }
        for name, each in [*self.api.slices.items()]:
            if name not in wanted:
                await self.api.changes(each, "DELETED")
        for each in wanted.values():
            await self.api.changes(each)


class FoundByConsul(Found):
    name = "consul"

    def __init__(self, _folder: Path) -> None:
        self.server = self.consul = ScriptedConsul()
        self.source = f'consul = "{self.server.url}/web"'

    async def has(self, *ports: int) -> None:
        self.consul.changes(*(instance(f"n{port}", address="127.0.0.1", port=port) for port in ports))

    async def breaks(self) -> None:
        await super().breaks()
        self.consul.changes(*self.consul.instances)


class FoundOverHttp(Found):
    name = "http"
    in_time = 1.0 + 1.1

    def __init__(self, _folder: Path) -> None:
        self.server = self.inventory = Inventory()
        self.source = f'http = "{self.server.url}/web?dc=a"\nevery = "1s"'

    async def has(self, *ports: int) -> None:
        self.inventory.entries = [{"url": f"http://127.0.0.1:{port}"} for port in ports]


KINDS: tuple[Callable[[Path], Found], ...] = (FoundByDocker, FoundByKubernetes, FoundByConsul, FoundOverHttp)


class Load:
    """Requests to one pool, one after the other: what each was answered, and by whom lately."""

    def __init__(self, pool: str) -> None:
        self.statuses = Counter[int]()
        self.last = Counter[str]()
        self.scope = trio.CancelScope()
        self._pool = pool

    async def run(self, url: str) -> None:
        with self.scope:
            async with httpx.AsyncClient(headers={"Host": self._pool}) as client:
                while True:
                    response = await client.get(url)
                    self.statuses[response.status_code] += 1
                    self.last[response.text] += 1
                    await trio.sleep(0.01)

    async def until_answered_by(self, *ports: int, within: float) -> None:
        """Wait until requests are answered by exactly these. A look takes a tenth of a second."""
        wanted = {str(port) for port in ports}
        with trio.move_on_after(within + LOOK) as scope:
            while self.last.keys() != wanted:
                self.last.clear()
                await trio.sleep(LOOK)
        assert not scope.cancelled_caught, f"{self._pool}: {[*self.last]} in the place of {wanted}"


async def serve(stream: trio.SocketStream) -> None:
    port = str(stream.socket.getsockname()[1]).encode()
    async with stream:
        async for data in stream:
            for _ in range(data.count(b"\r\n\r\n")):
                await stream.send_all(answer(port))


@asynccontextmanager
async def origins() -> AsyncIterator[list[int]]:
    """The ports of two servers that say their port."""
    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        listeners = [(await nursery.start(serving))[0] for _ in range(2)]
        yield [listener.socket.getsockname()[1] for listener in listeners]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def finding(found: Found, url: str, ports: list[int]) -> AsyncIterator[Load]:
    """Load on the pool of a source, which has found the first of two backends."""
    load = Load(found.name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run, url)
        await load.until_answered_by(ports[0], within=5)
        yield load
        load.scope.cancel()


async def live_through(found: Found, url: str, ports: list[int]) -> None:
    """A second one comes, then errors, then an empty answer, then the first one leaves."""
    async with finding(found, url, ports) as load:
        await found.has(*ports)
        await load.until_answered_by(*ports, within=found.in_time)

        await found.breaks()
        await trio.sleep(GRACE + 2)
        await load.until_answered_by(*ports, within=1)

        await found.is_well()
        await found.has()
        await trio.sleep(GRACE + 3)
        load.last.clear()
        await trio.sleep(1)
        assert load.last, "the share `keep` is held"

        await found.has(ports[1])
        await load.until_answered_by(ports[1], within=found.in_time + GRACE + 5)
        assert {*load.statuses} == {200}, found.name


@pytest.mark.alone
async def test_a_change_is_in_use_in_time_and_neither_errors_nor_an_empty_answer_cost_a_request(
    tmp_path: Path,
) -> None:
    sources = [kind(tmp_path) for kind in KINDS]
    config = tmp_path / "lb.toml"
    config.write_text("".join(POOL.format(name=found.name, source=found.source) for found in sources))
    async with AsyncExitStack() as stack:
        ports = await stack.enter_async_context(origins())
        for found in sources:
            await stack.enter_async_context(found.server.running())
            await found.has(ports[0])
        lb = await stack.enter_async_context(program("--config", str(config)))
        async with trio.open_nursery() as nursery:
            for found in sources:
                nursery.start_soon(live_through, found, lb.url, ports)


async def test_a_container_that_is_told_to_stop_gets_nothing_more_before_it_has_ended(tmp_path: Path) -> None:
    found = FoundByDocker(tmp_path)
    config = tmp_path / "lb.toml"
    config.write_text(POOL.format(name=found.name, source=found.source))
    async with origins() as ports, found.server.running():
        await found.has(ports[0])
        async with program("--config", str(config)) as lb, finding(found, lb.url, ports) as load:
            await found.has(*ports)
            await load.until_answered_by(*ports, within=2)
            await found.docker.tells("kill", found.box(ports[0]), signal="15")
            await load.until_answered_by(ports[1], within=2)
            assert {*load.statuses} == {200}
