"""The real program and a name server: what it says is in use soon, and no trouble of it reaches a client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.kit.name_server import Deed, NameServer, Rcode, name_server, silence
from tests.system.load import Load
from tests.system.program import Program, program, until

TTL = 2
HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
CONFIG = """
[[pools.default.discover]]
dns = "{url}"
resolvers = ["{server}"]
"""


async def answer(stream: trio.SocketStream) -> None:
    """A backend that says OK to each request that comes whole in one piece."""
    async with stream:
        try:
            while await stream.receive_some(65536):
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        except trio.BrokenResourceError:
            return


@asynccontextmanager
async def backends(*hosts: str) -> AsyncIterator[int]:
    """Servers at these addresses, all on one port."""
    listeners: list[trio.SocketListener] = []
    port = 0
    for host in hosts:
        listeners += await trio.open_tcp_listeners(port, host=host)
        port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def found(folder: Path, url: str, dns: NameServer) -> AsyncIterator[Program]:
    file = folder / "lb.toml"
    file.write_text(CONFIG.format(url=url, server=dns.address))
    async with program("--config", str(file)) as lb:
        yield lb


async def in_use(lb: Program) -> set[str]:
    """The backends that take requests now."""
    listing = await lb.api("GET", "/backends")
    return {item["id"] for item in listing["items"] if item["status"]["state"] == "ready"}


@pytest.mark.alone
async def test_a_change_is_in_use_within_its_ttl(tmp_path: Path) -> None:
    async with name_server() as dns, backends(*HOSTS) as port:
        dns.has("web.example", "A", HOSTS[0], ttl=TTL)
        async with found(tmp_path, f"http://web.example:{port}", dns) as lb:
            assert await in_use(lb) == {f"{HOSTS[0]}-{port}"}
            for number in (2, 3):
                dns.has("web.example", "A", *HOSTS[:number], ttl=TTL)
                wanted = {f"{host}-{port}" for host in HOSTS[:number]}

                async def is_in_use(wanted: set[str] = wanted) -> bool:
                    return await in_use(lb) == wanted

                await until(is_in_use, seconds=TTL + 1.5)


@pytest.mark.alone
async def test_services_are_in_use_within_their_ttl(tmp_path: Path) -> None:
    async with name_server() as dns, backends(*HOSTS[:2]) as port:
        service = "_http._tcp.web.example"
        dns.has(service, "SRV", f"10 5 {port} a.example.", ttl=TTL)
        dns.has("a.example", "A", HOSTS[0], ttl=TTL)
        dns.has("b.example", "A", HOSTS[1], ttl=TTL)
        async with found(tmp_path, f"srv://{service}", dns) as lb:
            assert await in_use(lb) == {f"a.example-{port}"}
            dns.has(service, "SRV", f"10 5 {port} a.example.", f"20 7 {port} b.example.", ttl=TTL)

            async def is_known() -> bool:
                listing = await lb.api("GET", "/backends")
                return {item["id"]: (item["weight"], item["backup"]) for item in listing["items"]} == {
                    f"a.example-{port}": (5, False),
                    f"b.example-{port}": (7, True),
                }

            await until(is_known, seconds=TTL + 1.5)


@pytest.mark.alone
async def test_no_trouble_of_the_name_server_reaches_a_client(tmp_path: Path) -> None:
    troubles: list[Deed | Rcode] = [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NXDOMAIN, silence]
    async with name_server() as dns, backends(*HOSTS) as port:
        dns.has("web.example", "A", *HOSTS, ttl=1)
        wanted = {f"{host}-{port}" for host in HOSTS}
        async with found(tmp_path, f"http://web.example:{port}", dns) as lb:
            load = Load(lb.address)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run, 4)
                for trouble in troubles:
                    with dns.doing("web.example", trouble, "A", "AAAA"):
                        await trio.sleep(3)
                    assert await in_use(lb) == wanted
                dns.has("web.example", "A", ttl=1)  # there is nobody any more, it says
                await trio.sleep(3)
                assert await in_use(lb) == wanted
                load.stop()
    assert load.failures == []
    assert {*load.answered} == {200}
    assert load.total > 100
