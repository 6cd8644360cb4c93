"""Where a probe connects to."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio

from lb.core.health.probe_verdict import Check
from lb.settings.backend_spec import BackendSpec
from tests.kit import OK, Backend, Refusing, virtual_time
from tests.kit.backend import Stand
from tests.probes.house import house

pytestmark = virtual_time


async def test_a_kind_of_tcp_only_connects() -> None:
    async with house(kind="tcp") as there:
        check = await there.check()
        assert check == Check(True, "connected", 0.0, 0.0)
        peer = await there.stand.accepts()
        await peer.hears_end()


async def test_a_port_of_its_own_is_probed_at_the_address_of_the_backend() -> None:
    async with house(Backend, Refusing) as there:
        there.configure(port=int(there.stand.address.rpartition(":")[2]))
        async with there.stand.answering(OK) as heard:
            assert (await there.probes.check(there["two"])).ok
        assert heard[0]["Host"] == there.stand.address


class Resolver(trio.abc.HostnameResolver):
    """A resolver that knows one name."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def getaddrinfo(self, host: Any, port: Any, *_rest: Any) -> list[Any]:
        self.asked.append(trio.current_time())
        if host != b"shop.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def resolver() -> Resolver:
    resolver = Resolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


async def test_a_name_is_resolved_as_for_traffic(resolver: Resolver) -> None:
    async with house() as there, trio.open_nursery() as nursery:
        port = int(there.stand.address.rpartition(":")[2])
        there.configure(port=port)
        there.registry.add(BackendSpec(id="named", url="http://shop.test:1"))
        there.registry.add(BackendSpec(id="nameless", url="http://no.test:1"))
        nursery.start_soon(there.names.run)
        async with there.stand.answering(OK) as heard:
            assert (await there.probes.check(there["named"])).ok
        assert heard[0]["Host"] == f"shop.test:{port}"
        check = await there.probes.check(there["nameless"])
        assert check.why.startswith("no.test has no address:")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("kind", "asked"), [(Refusing, [0.0, 6.0]), (Backend, [0.0])])
async def test_a_name_that_takes_no_connection_is_resolved_again_soon(
    resolver: Resolver, kind: Callable[[], Stand], asked: list[float]
) -> None:
    async with house(kind, timeout=5.0) as there, trio.open_nursery() as nursery:
        url = f"http://shop.test:{there.stands[0].url.rpartition(':')[2]}"
        there.registry.add(BackendSpec(id="named", url=url))
        nursery.start_soon(there.names.run)
        await trio.sleep(5)
        assert not (await there.probes.check(there["named"])).ok
        await trio.sleep(2)
        assert resolver.asked == asked
        nursery.cancel_scope.cancel()
