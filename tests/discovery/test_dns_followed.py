"""A name server, the keeper of all rules and a balancer as one, on virtual time: ten minutes of trouble."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import lb
from tests.kit import GET, virtual_time
from tests.kit.client import connected
from tests.kit.name_server import Deed, NameServer, Rcode, name_server, referring, silence

pytestmark = virtual_time

TEN_MINUTES = 600
EACH = 5
"""Seconds between two requests, and between two looks at the backends."""
HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14")
TTL = 5


async def answer(stream: trio.SocketStream) -> None:
    async with stream:
        try:
            while await stream.receive_some(65536):
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        except trio.BrokenResourceError:
            return


class Scene:
    """A balancer that finds its backends by a name server, and a client that asks now and then."""

    def __init__(self, dns: NameServer, balancer: lb.Balancer, port: int) -> None:
        self.dns = dns
        self.balancer = balancer
        self.port = port
        self.answered = 0

    @property
    def here(self) -> set[str]:
        """The hosts of all backends that may take a request."""
        backends = self.balancer.registry.backends.values()
        return {backend.id.removesuffix(f"-{self.port}") for backend in backends if backend.is_open}

    async def ask(self) -> None:
        """Each request is answered, by a backend."""
        while True:
            client = await connected(self.balancer.control.listening[0])
            await client.says(GET)
            await client.hears(200)
            client.closes()
            self.answered += 1
            await trio.sleep(EACH)


@asynccontextmanager
async def scene(keep: float = 0.5) -> AsyncIterator[Scene]:
    async with name_server() as dns, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=HOSTS[0])
        port = listeners[0].socket.getsockname()[1]
        for host in HOSTS[1:]:
            listeners += await trio.open_tcp_listeners(port, host=host)
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        dns.has("web.example", "A", *HOSTS[:3], ttl=TTL)
        source = {"dns": f"http://web.example:{port}", "resolvers": [dns.address], "keep": keep}
        config = lb.build({"listen": ["127.0.0.1:0"], "pools": {"default": {"discover": [source]}}})
        async with lb.open_balancer(config) as balancer:
            made = Scene(dns, balancer, port)
            async with trio.open_nursery() as asking:
                asking.start_soon(made.ask)
                yield made
                asking.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def heals(lb: Scene) -> None:
    """All that a name server says is in use again, and what is new is so in time."""
    lb.dns.has("web.example", "A", *HOSTS[:3], ttl=TTL)
    await trio.sleep(60)
    assert lb.here == {*HOSTS[:3]}
    lb.dns.has("web.example", "A", *HOSTS, ttl=TTL)
    await trio.sleep(TTL + 1.5)
    assert lb.here == {*HOSTS}


@pytest.mark.parametrize(
    ("trouble", "kinds"),
    [
        (Rcode.SERVFAIL, ("A", "AAAA")),
        (Rcode.SERVFAIL, ("AAAA",)),
        (Rcode.REFUSED, ("A",)),
        (Rcode.NXDOMAIN, ("A", "AAAA")),
        (silence, ("A", "AAAA")),
        (referring, ("A", "AAAA")),
    ],
)
async def test_ten_minutes_of_one_trouble(trouble: Deed | Rcode, kinds: tuple[str, ...]) -> None:
    async with scene() as lb:
        with lb.dns.doing("web.example", trouble, *kinds):
            for _ in range(0, TEN_MINUTES, EACH):
                await trio.sleep(EACH)
                assert lb.here == {*HOSTS[:3]}
        await heals(lb)
    assert lb.answered > TEN_MINUTES / EACH


@pytest.mark.parametrize("keep", [0.5, 1.0])
async def test_ten_minutes_of_an_empty_answer(keep: float) -> None:
    async with scene(keep) as lb:
        lb.dns.has("web.example", "A", ttl=TTL)
        for _ in range(0, TEN_MINUTES, EACH):
            await trio.sleep(EACH)
            assert lb.here == {*HOSTS[:3]}
        await heals(lb)
    assert lb.answered > TEN_MINUTES / EACH


async def test_ten_minutes_of_all_troubles_in_turns() -> None:
    chance = random.Random(11)
    troubles: list[Deed | Rcode | None] = [
        Rcode.SERVFAIL,
        Rcode.REFUSED,
        Rcode.NXDOMAIN,
        silence,
        referring,
        None,
    ]
    async with scene() as lb:
        until = trio.current_time() + TEN_MINUTES
        while trio.current_time() < until:
            for kind in ("A", "AAAA"):
                lb.dns.does("web.example", kind, chance.choice(troubles))
            await trio.sleep(chance.uniform(0.5, 20))
            assert lb.here == {*HOSTS[:3]}
        for kind in ("A", "AAAA"):
            lb.dns.does("web.example", kind, None)
        await heals(lb)
    assert lb.answered > TEN_MINUTES / EACH
