"""Faults f3.8 and f3.9: backends at Unix sockets, and addresses with a zone."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

import lb as library
from lb.config import state_file
from lb.errors import ConfigError
from lb.net.addresses import literal
from lb.net.connect import connect
from lb.net.listener import open_listeners
from lb.run_command import _backend
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import parse_address
from tests.admin.kit import Api
from tests.kit import GET, OK, Backend, Scene, lasting, running, virtual_time

pytestmark = virtual_time


class AtSocket(Backend):
    """A backend that listens on a Unix socket, or at another address than most."""

    def __init__(self, family: int, address: object, backlog: int = 100) -> None:
        super().__init__()
        self._listening.close()
        self._listening = socket.socket(family)
        self._listening.bind(address)  # type: ignore[arg-type]  # of this family
        self._listening.listen(backlog)
        self._sock = trio.socket.from_stdlib_socket(self._listening)
        if family != socket.AF_UNIX:
            self.port = self._listening.getsockname()[1]


@asynccontextmanager
async def running_at(
    family: int, address: object, backlog: int = 100, **config: Any
) -> AsyncIterator[tuple[Scene, AtSocket]]:
    """A balancer, and a backend at this address that it does not know yet; "one" is out."""
    async with running(**config) as lb:
        stand = AtSocket(family, address, backlog)
        lb.stands.append(stand)
        lb.backends.append(stand)
        lb.registry.maintenance(lb["one"])
        yield lb, stand


def add(lb: Scene, url: str, id: str = "app") -> None:
    lb.registry.maintenance(lb["one"])
    lb.registry.add(library.BackendSpec(id=id, url=url))


# -- f3.8: Unix sockets ------------------------------------------------------------------------------------


async def test_f3_8_requests_go_to_a_unix_socket_and_host_is_the_client_s(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    async with running_at(socket.AF_UNIX, path) as (lb, stand), stand.answering(OK) as heard:
        add(lb, f"unix:{path}", "app")
        client = await lb.client()
        for _ in range(2):
            await client.says(GET.replace(b"Host: a", b"Host: shop.example"))
            await client.hears(200)
        assert [request["Host"] for request in heard] == ["shop.example"] * 2
        assert (lb["app"].connections_opened, lb["app"].connections_reused) == (1, 1)


async def test_f3_8_large_bodies_pass_both_ways(tmp_path: Path) -> None:
    path, body = str(tmp_path / "app.sock"), bytes(1 << 20)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with running_at(socket.AF_UNIX, path) as (lb, stand), stand.answering(answer) as heard:
        add(lb, f"unix:{path}")
        client = await lb.client()
        async with trio.open_nursery() as nursery:
            head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
            nursery.start_soon(client.says, head + body)
            assert (await client.hears(200)).body == body
        assert heard[0].body == body


async def test_f3_8_probes_work_over_it_and_a_port_of_theirs_means_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    probe = {"path": "/health", "port": 1, "interval": "1s"}
    async with (
        running_at(socket.AF_UNIX, path, pools={"default": {"probe": probe}}) as (lb, stand),
        stand.answering(OK) as heard,
    ):
        add(lb, f"unix:{path}", "app")
        await trio.sleep(3)
        assert lb["app"].health is not None
        assert lb["app"].health.passes >= 2
        assert heard[0]["Host"] == "localhost"


@pytest.mark.parametrize(
    ("make", "why"), [(False, "No such file or directory"), (True, "Connection refused")]
)
async def test_f3_8_errors_name_the_path(tmp_path: Path, make: bool, why: str) -> None:
    path = tmp_path / "app.sock"
    if make:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
    async with running(pools={"default": {"probe": {"interval": "1s"}}}) as lb:
        add(lb, f"unix:{path}", "app")
        client = await lb.asks(GET)
        details = (await client.hears(502))["Proxy-Status"]
        assert f"app at unix:{path}: {why}" in details
        await trio.sleep(10)
        assert lb["app"].state == "down"


async def test_f3_8_a_full_backlog_is_waited_for_as_long_as_a_connection_may_take(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    async with running_at(socket.AF_UNIX, path, backlog=0) as (lb, stand):
        add(lb, f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as filler:
            filler.connect(path)
            client = await lb.asks(GET)
            with lasting(5.0):
                assert "connection_timeout" in (await client.hears(504))["Proxy-Status"]
            await client.says(GET)
            await trio.sleep(1)
            await stand.accepts()
            peer = await stand.hears()
            await peer.says(OK)
            await client.hears(200)


async def test_f3_8_file_flags_api_and_state_have_it(tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/app.sock"
    config = library.build({"pools": {"default": {"backends": [{"id": "app", "url": url}]}}})
    assert config.pools["default"].backends[0].url == url
    assert _backend(f"app={url},weight=2") == {"id": "app", "url": url, "weight": 2}
    assert _backend(url) == {"url": url}
    async with running(state=str(tmp_path / "state.json")) as lb:
        api = Api(lb.balancer.control)
        added = await api("POST", "/backends", form=f"url={quote(url)}")
        assert (added.status, added.json["url"]) == (201, url)
        assert added.json["id"].startswith("unix~")
        table = await api("GET", "/backends?format=table")
        assert url in table.body.decode()
        page = (await api("GET", "/", headers={"Accept": "text/html"})).body.decode()
        assert url in page
        assert added.json["id"] in (await api("GET", "/metrics")).body.decode()
        changes = state_file.load(str(tmp_path / "state.json"))
        assert changes is not None
        assert url in (tmp_path / "state.json").read_text()


@pytest.mark.parametrize("url", ["unix:app.sock", "unix:./app.sock", "unix:", "unix:~/app.sock"])
async def test_f3_8_a_relative_path_is_refused_and_named(url: str) -> None:
    wanted = f"url: {url!r}: expected the whole path of a socket, such as unix:/run/app.sock"
    with pytest.raises(ConfigError, match=f"backends.*{wanted}"):
        library.build({"pools": {"default": {"backends": [{"url": url}]}}})
    async with running() as lb:
        answer = await Api(lb.balancer.control)("POST", "/backends", form=f"url={quote(url)}")
        assert answer.status == 422
        assert "whole path of a socket" in answer.body.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/../run/docker.sock",
        "/run/containerd/containerd.sock",
    ],
)
async def test_f3_8_the_api_takes_no_socket_that_controls_the_machine(path: str) -> None:
    async with running() as lb:
        answer = await Api(lb.balancer.control)("POST", "/backends", form=f"url=unix:{path}")
        assert answer.status == 422
        assert "controls this machine" in answer.body.decode()


async def test_f3_8_nor_the_balancer_s_own(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    async with running(listen=[f"unix:{path}"]) as lb:
        answer = await Api(lb.balancer.control)("POST", "/backends", form=f"url=unix:{path}")
        assert answer.status == 422
        assert "this balancer itself" in answer.body.decode()


# -- f3.9: zones -------------------------------------------------------------------------------------------


def link_local() -> tuple[str, str] | None:
    """A link-local address of this machine, and its interface."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, _, _, scope, flags, interface = line.split()
        if scope == "20" and not int(flags, 16) & 0x40:  # tentative
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), interface
    return None


LINK_LOCAL = link_local()


@pytest.mark.skipif(LINK_LOCAL is None, reason="no interface here has a link-local address")
async def test_f3_9_a_backend_and_a_listener_may_have_a_zone() -> None:
    assert LINK_LOCAL is not None
    address, interface = LINK_LOCAL
    async with (
        running_at(
            socket.AF_INET6,
            (address, 0, 0, socket.if_nametoindex(interface)),
            listen=[f"[{address}%{interface}]:0"],
            admin={"allowed_backends": ["fe80::/10"]},
        ) as (lb, stand),
        stand.answering(OK) as heard,
    ):
        assert f"[{address}%{interface}]:" in lb.balancer.control.listening[0]
        add(lb, f"http://[{address}%25{interface}]:{stand.port}")
        client = await lb.asks(GET)
        await client.hears(200)
        assert heard[0]["X-Forwarded-For"] == address


async def test_f3_9_a_zone_of_the_loopback_interface_works_everywhere() -> None:
    [listener] = await open_listeners(parse_address("[::1%lo]:0"))
    port = listener.sock.getsockname()[1]
    address = literal("::1%lo", port)
    assert address is not None
    (await connect([address])).close()
    listener.close()


async def test_f3_9_an_interface_that_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on \[fe80::1%nosuch0\]:1.*nosuch0"):
        await open_listeners(parse_address("[fe80::1%nosuch0]:1"))
    async with running() as lb:
        add(lb, "http://[fe80::1%25nosuch0]:80", "zoned")
        client = await lb.asks(GET)
        assert "no network interface 'nosuch0'" in (await client.hears(502))["Proxy-Status"]


@pytest.mark.parametrize("url", ["http://[fe80::1%25a/b]", "http://[fe80::1%25]:80", "http://127.0.0.1%25lo"])
async def test_f3_9_what_is_no_zone_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"zone|IPv6|valid|nothing more"):
        library.build({"pools": {"default": {"backends": [{"url": url}]}}})


async def test_f3_9_a_probe_names_no_zone_in_host() -> None:
    pools = {"default": {"probe": {"interval": "1s"}}}
    async with (
        running_at(socket.AF_INET6, ("::1", 0), pools=pools) as (lb, stand),
        stand.answering(OK) as heard,
    ):
        add(lb, f"http://[::1%25lo]:{stand.port}")
        await trio.sleep(2)
        assert heard[0]["Host"] == f"[::1]:{stand.port}"


async def test_f3_9_the_configuration_shows_it_as_it_was_written() -> None:
    config: Config = library.build({"listen": ["[::1%lo]:80"]})
    assert config.listen == ("[::1%lo]:80",)
