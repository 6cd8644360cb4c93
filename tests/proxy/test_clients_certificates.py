"""Clients that are told apart by their certificates: their places, and the backends they come back to."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from lb.app import Balancer, open_balancer
from lb.config.loader import build
from tests.kit.certificates import CLIENT, authority, certificate

ROOT = authority()
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
PATIENCE = 10


class Front:
    """A balancer whose clients may show certificates."""

    def __init__(self, folder: Path, balancer: Balancer) -> None:
        self._folder = folder
        self._ca = folder / "ca.pem"
        self.balancer = balancer

    def context(self, subject: str | None, *names: str) -> ssl.SSLContext:
        """Of a client with a new certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._ca)
        if subject is not None:
            shown = certificate(*names, by=ROOT, usages=(CLIENT,), subject=subject)
            context.load_cert_chain(*shown.write(self._folder, "client"))
        return context

    async def connect(self, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
        host, _, port = self.balancer.control.listening[0].rpartition(":")
        stream = trio.SSLStream(
            await trio.open_tcp_stream(host, int(port)), context, server_hostname="a.test"
        )
        with trio.fail_after(PATIENCE):
            await stream.do_handshake()
        return stream

    @property
    def rejected(self) -> dict[str, int]:
        (counts,) = self.balancer.metrics.listeners.values()
        return dict(counts.rejected)


@asynccontextmanager
async def front(folder: Path, **more: Any) -> AsyncIterator[Front]:
    (folder / "ca.pem").write_text(ROOT.pem)
    chain, key = certificate("a.test", by=ROOT).write(folder)
    tls = {
        "certificates": [{"chain": chain, "key": key}],
        "clients": [{"ca": str(folder / "ca.pem"), "need": "offered"}],
    }
    config = build({"listen": ["https://127.0.0.1:0"], "tls": tls, "timeouts": {"grace": 0.1}, **more})
    async with open_balancer(config) as balancer:
        yield Front(folder, balancer)


async def asked(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    """The answer to a request; b"" where the connection was closed instead."""
    with trio.fail_after(PATIENCE):
        try:
            await stream.send_all(GET)
            return bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            return b""


async def test_the_owner_of_a_certificate_has_no_more_than_its_places(tmp_path: Path) -> None:
    """Whichever certificate it is; others with another one, and those without one, have theirs."""
    async with front(tmp_path, limits={"connections_per_certificate": 2}) as lb, AsyncExitStack() as kept:
        streams = []
        with capture_logs() as logged:
            for subject in ("worker", "worker", "other", None, None, None):
                stream = await kept.enter_async_context(await lb.connect(lb.context(subject)))
                assert (await asked(stream)).startswith(b"HTTP/1.1 503 ")
                streams.append(stream)
            for _ in range(3):
                async with await lb.connect(lb.context("worker", "worker.test")) as third:
                    assert await asked(third) == b""
        assert lb.rejected == {"certificate_limit": 3}
        told = [line for line in logged if "every place that it may have" in line["event"]]
        assert [(line["certificate"], line["places"]) for line in told] == [("subject:CN=worker", 2)]
        await streams[0].aclose()
        with trio.fail_after(PATIENCE):
            while True:
                async with await lb.connect(lb.context("worker")) as stream:
                    if await asked(stream):
                        break


async def test_no_limit_counts_nobody(tmp_path: Path) -> None:
    async with front(tmp_path) as lb, AsyncExitStack() as kept:
        for _ in range(3):
            stream = await kept.enter_async_context(await lb.connect(lb.context("worker")))
            assert (await asked(stream)).startswith(b"HTTP/1.1 503 ")
        assert lb.rejected == {}


async def answers(name: bytes, stream: trio.SocketStream) -> None:
    async for _ in stream:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name)


@pytest.mark.parametrize("renewed", [False, True])
async def test_a_certificate_comes_back_to_its_backend(tmp_path: Path, renewed: bool) -> None:
    async with trio.open_nursery() as nursery:
        backends = []
        for name in (b"a", b"b", b"c", b"d"):
            [listener] = await nursery.start(
                partial(trio.serve_tcp, partial(answers, name), 0, host="127.0.0.1")
            )
            port = listener.socket.getsockname()[1]
            backends.append({"id": name.decode(), "url": f"http://127.0.0.1:{port}"})
        pool = {"backends": backends, "policy": "hash", "hash": {"key": "certificate", "load": 0}}
        async with front(tmp_path, pools={"default": pool}) as lb:
            homes = set()
            for number in range(12):
                context, places = lb.context(f"worker-{number}"), set()
                for _ in range(3):
                    context = lb.context(f"worker-{number}") if renewed else context
                    async with await lb.connect(context) as stream:
                        places.add((await asked(stream))[-1:])
                assert len(places) == 1
                homes |= places
            assert len(homes) > 1  # by address, all would have the same
        nursery.cancel_scope.cancel()
