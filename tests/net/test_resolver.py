"""The names of backends: resolved when they are added, again after a failure, and every 30 seconds."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from lb.core.registry import Registry
from lb.errors import NameNotResolved
from lb.net.addresses import literal
from lb.net.resolver import SOON_SECONDS, Names
from lb.settings.backend_spec import BackendSpec
from tests.kit import GET, OK, Backend, Refusing, Scene, lasting, running, virtual_time
from tests.kit.backend import Stand

pytestmark = virtual_time


class Resolver(trio.abc.HostnameResolver):
    """Resolves the names in `known`, in `takes` seconds; any other name has no address."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: list[float] = []
        self.takes = 0.0

    async def getaddrinfo(  # type: ignore[override]  # narrower than trio's
        self, host: bytes, port: int, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        self.asked.append(trio.current_time())
        await trio.sleep(self.takes)
        try:
            addresses = self.known[host.decode()]
        except KeyError:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def resolver() -> Resolver:
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


def add_by_name(lb: Scene, stand: Stand, name: str = "shop.test") -> None:
    port = stand.address.rpartition(":")[2]
    lb.everybody[lb.registry.add(BackendSpec(id="named", url=f"http://{name}:{port}"))[0]] = None
    lb.registry.remove(lb["one"])


async def test_a_name_is_resolved_off_the_request_path(resolver: Resolver) -> None:
    resolver.known["shop.test"] = ["127.0.0.1"]
    async with running() as lb:
        add_by_name(lb, lb.backend)
        await trio.testing.wait_all_tasks_blocked()
        assert len(resolver.asked) == 1
        async with lb.backend.answering(OK):
            client = await lb.asks(GET)
            await client.hears(200)
        assert len(resolver.asked) == 1


async def test_until_the_first_answer_is_there_requests_wait(resolver: Resolver) -> None:
    resolver.known["shop.test"], resolver.takes = ["127.0.0.1"], 2.0
    async with running() as lb, lb.backend.answering(OK):
        add_by_name(lb, lb.backend)
        client = await lb.asks(GET)
        with lasting(2.0):
            await client.hears(200)


async def test_the_wait_for_a_name_is_a_part_of_the_connect_timeout(resolver: Resolver) -> None:
    resolver.known["shop.test"], resolver.takes = ["127.0.0.1"], 8.0
    async with running() as lb:
        add_by_name(lb, lb.backend)
        client = await lb.asks(GET)
        with lasting(5.0):
            assert "dns_timeout" in (await client.hears(504))["Proxy-Status"]


async def test_a_name_without_an_address_is_an_error_of_its_own(resolver: Resolver) -> None:
    async with running() as lb:
        add_by_name(lb, lb.backend)
        await trio.testing.wait_all_tasks_blocked()
        client = await lb.asks(GET)
        with lasting(0.0):
            assert "dns_error" in (await client.hears(502))["Proxy-Status"]


async def test_a_name_that_is_found_later_is_used_soon(resolver: Resolver) -> None:
    async with running() as lb:
        add_by_name(lb, lb.backend)
        await trio.testing.wait_all_tasks_blocked()
        resolver.known["shop.test"] = ["127.0.0.1"]
        client = await lb.asks(GET)
        await client.hears(502)
        await trio.sleep(1.001)
        async with lb.backend.answering(OK):
            await client.says(GET)
            await client.hears(200)


async def test_the_addresses_are_tried_in_their_order(resolver: Resolver) -> None:
    resolver.known["shop.test"] = ["127.0.0.2", "127.0.0.1"]
    async with running() as lb, lb.backend.answering(OK):
        add_by_name(lb, lb.backend)
        client = await lb.asks(GET)
        await client.hears(200)
        assert len(lb.exchange.attempts) == 1


async def test_a_name_that_stops_resolving_keeps_its_addresses(resolver: Resolver) -> None:
    resolver.known["shop.test"] = ["127.0.0.1"]
    async with running() as lb, lb.backend.answering(OK):
        add_by_name(lb, lb.backend)
        await trio.testing.wait_all_tasks_blocked()
        resolver.known.clear()
        await trio.sleep(100)
        client = await lb.asks(GET)
        await client.hears(200)
        assert resolver.asked == [0.0, 30.0, 60.0, 90.0]


async def test_a_failed_connection_asks_again_within_a_second_and_no_more_often(resolver: Resolver) -> None:
    resolver.known["shop.test"] = ["127.0.0.1"]
    async with running(Refusing) as lb:
        add_by_name(lb, lb.stands[0])
        await trio.testing.wait_all_tasks_blocked()
        client = await lb.client()
        for _ in range(10):
            await client.says(GET)
            await client.hears(502)
        await trio.sleep(1.5)
        assert resolver.asked == [0.0, 1.0]


async def test_a_slow_name_does_not_hold_up_the_others(resolver: Resolver) -> None:
    resolver.takes = 1000.0
    async with running(Backend, Backend) as lb, lb.backends[1].answering(OK):
        add_by_name(lb, lb.backends[0])
        client = await lb.asks(GET)
        await client.hears(200)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", (socket.AF_INET, ("127.0.0.1", 80))),
        ("::1", (socket.AF_INET6, ("::1", 80, 0, 0))),
        ("a.test", None),
    ],
)
async def test_an_address_needs_no_resolver(host: str, address: object) -> None:
    assert literal(host, 80) == address


# -- one process resolves for another ---------------------------------------------------------------------


@asynccontextmanager
async def keeper_and_worker() -> AsyncIterator[tuple[Names, Names]]:
    """Two processes' names of the backend shop.test:80, the second told by the first, at once."""
    registries = [Registry(trio.current_time, lambda: 0.5, lambda _path: b"k" * 32) for _ in range(2)]
    for registry in registries:
        registry.add_pool("default")
        registry.add(BackendSpec(id="named", url="http://shop.test"))
    keeper = Names(registries[0])
    worker = Names(registries[1], ask=keeper.refresh)
    keeper.subscribe_to_news(lambda host: worker.told(keeper.found(host)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        yield keeper, worker
        nursery.cancel_scope.cancel()


async def test_a_worker_has_the_addresses_that_the_keeper_found(resolver: Resolver) -> None:
    resolver.known["shop.test"], resolver.takes = ["10.0.0.1"], 2.0
    async with keeper_and_worker() as (keeper, worker):
        assert worker.known("shop.test", 80) is None
        with lasting(2):
            assert await worker.addresses("shop.test", 80) == [(socket.AF_INET, ("10.0.0.1", 80))]
        assert worker.found("shop.test") == keeper.found("shop.test")
    assert len(resolver.asked) == 1


async def test_what_a_worker_wants_anew_is_resolved_soon_and_told(resolver: Resolver) -> None:
    resolver.known["shop.test"] = ["10.0.0.1"]
    async with keeper_and_worker() as (_keeper, worker):
        lost: list[str] = []
        worker.subscribe(lambda backends: lost.extend(each.id for each in backends))
        await worker.addresses("shop.test", 80)
        resolver.known["shop.test"] = ["10.0.0.2"]
        worker.refresh("shop.test")
        await trio.sleep(SOON_SECONDS + 0.01)
        assert worker.known("shop.test", 80) == [(socket.AF_INET, ("10.0.0.2", 80))]
        assert lost == ["named"]
        del resolver.known["shop.test"]
        worker.refresh("shop.test")
        await trio.sleep(SOON_SECONDS + 0.01)
        told = worker.found("shop.test")
        assert told.addresses == [(socket.AF_INET, ("10.0.0.2", 0))]
        assert told.why is not None and "not known" in told.why  # noqa: PT018


async def test_a_worker_is_told_that_a_name_has_no_address(resolver: Resolver) -> None:
    async with keeper_and_worker() as (_keeper, worker):
        with pytest.raises(NameNotResolved, match="not known"):
            await worker.addresses("shop.test", 80)
