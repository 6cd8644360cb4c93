"""TLS with a server that is asked: whom we trust, who we are, and what is told when either does not fit.

The files are read in a thread, so these tests run on real time.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from lb.http_client.ask_failed import AskFailed
from lb.http_client.asker import Asker, Patience
from lb.http_client.server_url import server_of
from tests.kit import OK, Backend
from tests.kit.balancer import open_sockets
from tests.kit.certificates import CLIENT, Issued, authority, certificate

ROOT = authority()


@asynccontextmanager
async def serving(of: Issued, folder: Path, asks_for: Issued | None = None) -> AsyncIterator[int]:
    """The port of a server with this certificate, which answers each question with OK."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*of.write(folder, "server"))
    if asks_for is not None:
        context.load_verify_locations(cadata=asks_for.pem)
        context.verify_mode = ssl.CERT_REQUIRED
    serve = partial(trio.serve_ssl_over_tcp, answer_once, 0, context, host="127.0.0.1")
    before = open_sockets()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(serve)
        yield listeners[0].transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()
    assert open_sockets() <= before


async def answer_once(stream: trio.SSLStream[trio.SocketStream]) -> None:
    with suppress(trio.BrokenResourceError):  # it has no TLS with us
        if await stream.receive_some():
            await stream.send_all(OK)
    await trio.aclose_forcefully(stream)


async def ask(port: int, host: str = "localhost", **files: str | None) -> int:
    server, target = server_of(f"https://{host}:{port}", **files)
    return (await Asker(server).ask("GET", target)).status


@pytest.fixture
def ca(tmp_path: Path) -> str:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    return str(tmp_path / "ca.pem")


async def test_a_certificate_of_the_authority_for_this_host_is_good(tmp_path: Path, ca: str) -> None:
    async with serving(certificate("localhost", "127.0.0.1", by=ROOT), tmp_path) as port:
        assert await ask(port, ca=ca) == 200
        assert await ask(port, "127.0.0.1", ca=ca) == 200


async def test_another_name_may_be_expected(tmp_path: Path, ca: str) -> None:
    async with serving(certificate("kubernetes.default.svc", by=ROOT), tmp_path) as port:
        assert await ask(port, ca=ca, name="kubernetes.default.svc") == 200
        with pytest.raises(
            AskFailed, match=r"https://localhost:\d+: its certificate was refused: .*mismatch"
        ):
            await ask(port, ca=ca)


async def test_an_authority_that_we_do_not_know_is_told(tmp_path: Path) -> None:
    async with serving(certificate("localhost", by=ROOT), tmp_path) as port:
        with pytest.raises(AskFailed, match="its certificate was refused: unable to get"):
            await ask(port)


async def test_we_show_our_certificate_where_it_is_asked_for(tmp_path: Path, ca: str) -> None:
    of, ours = certificate("localhost", by=ROOT), certificate("lb", by=ROOT, usages=[CLIENT])
    chain, key = ours.write(tmp_path, "ours")
    async with serving(of, tmp_path, asks_for=ROOT) as port:
        assert await ask(port, ca=ca, chain=chain, key=key) == 200
        with pytest.raises(AskFailed, match=r"certificate required|closed the connection|reset"):
            await ask(port, ca=ca)


async def test_a_server_without_tls_is_told(ca: str) -> None:
    backend = Backend()

    async def serve() -> None:
        peer = await backend.accepts()
        await peer.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.take(1)
        peer.closes()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(AskFailed, match="does not speak TLS there"):
            await ask(backend.port, ca=ca)
    backend.close()


async def test_a_server_that_says_nothing_is_given_up(ca: str) -> None:
    backend = Backend()
    before = open_sockets()
    server = server_of(backend.url.replace("http", "https"), ca=ca)[0]
    with pytest.raises(AskFailed, match=r"no connection within 0.2 s"):
        await Asker(server, patience=Patience(connect=0.2)).ask("GET", "/")
    assert open_sockets() <= before
    backend.close()


@pytest.mark.parametrize("what", ["ca", "chain"])
async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, what: str) -> None:
    (tmp_path / "broken.pem").write_text("-")
    for file in ("broken.pem", "none.pem"):
        path = str(tmp_path / file)
        server = server_of("https://localhost:1", **{what: path})[0]
        with pytest.raises(AskFailed, match=f"{file} cannot be used for TLS: "):
            await Asker(server).ask("GET", "/")


async def test_a_name_that_no_certificate_can_have_is_told(tmp_path: Path, ca: str) -> None:
    async with serving(certificate("localhost", by=ROOT), tmp_path) as port:
        with pytest.raises(AskFailed, match=r"no certificate can be for 'é*'"):
            await ask(port, ca=ca, name="é" * 70)


async def test_cancelled_in_the_handshake_nothing_stays_open(tmp_path: Path, ca: str) -> None:
    async with serving(certificate("localhost", by=ROOT), tmp_path) as port:
        for milliseconds in range(0, 12, 2):
            with trio.move_on_after(milliseconds / 1000):
                await ask(port, ca=ca)
