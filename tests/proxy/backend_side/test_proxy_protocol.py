"""Connections to backends that begin with a PROXY header: what it says, and that no other client has them."""

from typing import Any

import pytest
import trio

import lb
from lb.net.proxy_header import read_proxy_header
from lb.net.proxy_header_writer import proxy_header
from tests.kit import GET, OK, Client, Peer, Scene, running, virtual_time
from tests.kit.backend import secured
from tests.kit.wires import KINDS, PLAIN, among

pytestmark = virtual_time


def with_version(version: int, **pool: Any) -> dict[str, Any]:
    return {"default": {"proxy_protocol": version, **pool}}


def header_for(client: Client, version: int) -> bytes:
    source, there = client.sock.getsockname(), client.sock.getpeername()
    return proxy_header(1 if version == 1 else 2, source[:2], there[:2])


@pytest.mark.parametrize("version", [1, 2])
async def test_each_request_has_a_connection_that_begins_with_its_clients_header(version: int) -> None:
    with among(PLAIN):
        async with running(pools=with_version(version)) as lb:
            first, second = await lb.client(), await lb.client()
            for client in first, first, second, first:
                await client.says(GET)
                peer = await lb.backend.accepts()
                await peer.hears_exactly(header_for(client, version))
                await peer.hears_request()
                await peer.says(OK)
                await client.hears(200)
                await peer.hears_end()
            assert lb["one"].connections_reused == 0


async def test_what_a_client_says_of_itself_is_not_told() -> None:
    with among(PLAIN):
        async with running(pools=with_version(1), trusted_proxies=["127.0.0.1"]) as lb:
            client = await lb.asks(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"))
            peer = await lb.backend.accepts()
            await peer.hears_exactly(header_for(client, 1))
            await peer.hears_request()
            await peer.says(OK)
            await client.hears(200)


async def test_a_header_that_came_is_told_on() -> None:
    source, destination = ("2001:db8::7", 5000), ("2001:db8::9", 443)
    listen: dict[str, Any] = {"listen": ["proxy+http://127.0.0.1:0"], "proxy_protocol_from": ["127.0.0.1"]}
    with among(PLAIN):
        async with running(pools=with_version(2), **listen) as lb:
            client = await lb.asks(proxy_header(1, source, destination) + GET)
            peer = await lb.backend.accepts()
            await peer.hears_exactly(proxy_header(2, source, destination))
            await peer.hears_request()
            await peer.says(OK)
            await client.hears(200)


async def test_of_a_client_on_a_unix_socket_nothing_is_known(tmp_path: Any) -> None:
    with among(PLAIN):
        async with running(pools=with_version(1), listen=[f"unix:{tmp_path}/lb.sock"]) as lb:
            client = await lb.asks(GET)
            peer = await lb.backend.accepts()
            await peer.hears_exactly(b"PROXY UNKNOWN\r\n")
            await peer.hears_request()
            await peer.says(OK)
            await client.hears(200)


def changes(scene: Scene, version: int) -> None:
    pool = scene.registry.pools["default"]
    settings = lb.build({"pools": with_version(version)}).pools["default"].settings
    scene.registry.configure(pool, settings)


async def test_the_setting_may_change_while_connections_are_idle_or_lent() -> None:
    with among(PLAIN):
        async with running() as lb:
            client = await lb.asks(GET)
            idle = await lb.backend.hears()
            await idle.says(OK)
            await client.hears(200)
            changes(lb, 1)
            await client.says(GET)
            peer = await lb.backend.accepts()
            await peer.hears_exactly(header_for(client, 1))
            await peer.hears_request()
            changes(lb, 0)
            await peer.says(OK)
            await client.hears(200)
            await peer.hears_end()
            await client.says(GET)
            await idle.hears_request()
            await idle.says(OK)
            await client.hears(200)


async def test_tls_begins_after_the_header() -> None:
    with among(KINDS["TLS"]):
        async with running(pools=with_version(1)) as lb:
            client = await lb.client()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.says, GET)
                sock, _ = await lb.backend._sock.accept()
                header = b""
                while not header.endswith(b"\n"):
                    header += await sock.recv(1) or b"\n"
                peer = Peer(await secured(sock, lb.backend._context))
                lb.backend.peers.append(peer)
            found = read_proxy_header(header)
            assert found is not None
            host, port = client.sock.getsockname()
            assert (found[0].source, found[0].source_port) == (host, port)
            await peer.hears_request()
            await peer.says(OK)
            await client.hears(200)


@pytest.mark.parametrize(("version", "header"), [(1, b"PROXY UNKNOWN\r\n"), (2, proxy_header(2, None, None))])
@pytest.mark.parametrize("kind", ["http", "tcp"])
async def test_a_probe_is_for_no_client(version: int, header: bytes, kind: str) -> None:
    with among(PLAIN):
        async with running(pools=with_version(version, probe={"kind": kind, "path": "/ping"})) as lb:
            peer = await lb.backend.accepts()
            await peer.hears_exactly(header)
            if kind == "http":
                await peer.hears_request(b"GET /ping HTTP/1.1")
                await peer.says(OK)
            await peer.hears_end()
