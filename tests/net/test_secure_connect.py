"""TLS with backends that does not come about: each failure is told as one, and leaks no socket."""

import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing

from lb.certificate_files.backend_contexts import BackendContexts
from lb.errors import CertificateRefused, ConnectTimeout, TlsFailed, TooManyDescriptors
from lb.net import secure_connect
from lb.net.epoll import Readiness
from lb.net.secure_connect import context_for, secured
from lb.net.tls_wire import TlsWire
from lb.probes.probe_target import ProbeFailed, ProbeTarget, connect_to
from lb.probes.tls_to_probed import TlsToProbed
from lb.proxy.backend_side.backend_tls import TlsToBackends
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import BackendTls, Probe
from lb.tls import requirement
from lb.tls.to_backends import ToBackends, to_backends
from tests.kit import GET, OK, Backend, Scene, running, virtual_time
from tests.kit.balancer import open_sockets
from tests.kit.wires import PLAIN, SecureSocket, Wires, among, files, server_context

pytestmark = [virtual_time, pytest.mark.pure]
LONG = "a" * 64 + ".test"


def full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Stage:
    """A connected socket, and its other end."""

    def __init__(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.sock = socket.create_connection(listening.getsockname())
        self.there, _ = listening.accept()
        listening.close()
        self.sock.setblocking(False)

    async def secure(self, host: str = "a", readiness: Readiness | None = None, **how: Any) -> None:
        to = to_backends(BackendTls(ca=files().ca))
        await secured(self.sock, readiness, to, host, "one at https://a", **how)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    before = open_sockets()
    it = Stage()
    try:
        yield it
        assert it.sock.fileno() == -1, "our socket is open"
    finally:
        it.there.close()
        it.sock.close()
    assert not open_sockets() - before


@pytest.mark.parametrize("host", [LONG, "a..test", "ä" * 63 + ".test"])
async def test_a_name_that_no_certificate_can_have(host: str) -> None:
    async with stage() as it:
        with pytest.raises(TlsFailed, match="no certificate can be for"):
            await it.secure(host)


async def test_a_peer_that_has_gone_before_the_handshake() -> None:
    async with stage() as it:
        it.there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        it.there.close()
        await trio.lowlevel.wait_readable(it.sock)
        with pytest.raises(TlsFailed, match="it closed the connection within the handshake"):
            await it.secure()


async def test_a_peer_that_goes_within_the_handshake() -> None:
    async with stage() as it, trio.open_nursery() as nursery:

        async def ends() -> None:
            await trio.testing.wait_all_tasks_blocked()
            it.there.close()

        nursery.start_soon(ends)
        with pytest.raises(TlsFailed, match="within the handshake"):
            await it.secure()


async def test_a_peer_that_speaks_no_tls() -> None:
    async with stage() as it:
        it.there.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(TlsFailed, match="it does not speak TLS there"):
            await it.secure()


async def test_a_socket_that_cannot_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as it:
        monkeypatch.setattr(Readiness, "register", full)
        with pytest.raises(OSError, match="No space"):
            await it.secure(readiness=Readiness())


async def test_a_handshake_that_is_cancelled() -> None:
    async with stage() as it:
        with trio.move_on_after(1) as scope:
            await it.secure()
        assert scope.cancelled_caught


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError()])
async def test_a_bug_in_a_handshake(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_more: object) -> None:
        raise error

    async with stage() as it:
        monkeypatch.setattr(TlsWire, "begin", broken)
        with pytest.raises(type(error)):
            await it.secure()


# -- the context -------------------------------------------------------------------------------------------


async def test_a_file_that_cannot_be_used_closes_the_socket() -> None:
    async with stage() as it:
        with pytest.raises(TlsFailed, match=r"^one: tls\.ca: /nowhere cannot be read"):
            await context_for(BackendTls(ca="/nowhere"), BackendContexts(), it.sock, "one")


async def test_a_lack_of_descriptors_closes_the_socket_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackendContexts, "prepare", full)
    async with stage() as it:
        with pytest.raises(OSError, match="No space"):
            await context_for(BackendTls(), BackendContexts(), it.sock, "one")


async def test_whoever_waits_for_a_context_may_be_cancelled() -> None:
    contexts = BackendContexts()
    async with stage() as it, trio.open_nursery() as nursery:
        nursery.start_soon(holding, contexts._one_at_a_time)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await context_for(BackendTls(), contexts, it.sock, "one")
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def holding(lock: trio.Lock) -> None:
    async with lock:
        await trio.sleep_forever()


# -- a request ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def over_tls(**config: Any) -> AsyncIterator[Scene]:
    """A balancer with one backend that speaks TLS, whose authority it knows."""
    with among(Wires(back=True)):
        async with running(**config) as lb:
            yield lb


def prepared(lb: Scene, settings: BackendTls) -> TlsToBackends:
    """It is made in a thread otherwise, while which virtual time passes."""
    tls = lb.balancer.traffic.connections.backend_tls()
    tls.contexts.prepare(settings)
    return tls


async def test_a_missing_package_is_told_to_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with among(PLAIN):
        async with running(lambda: Backend(context=server_context())) as lb:
            monkeypatch.setattr(requirement, "PACKAGE", "no_such_package")
            client = await lb.asks(GET)
            await client.hears(502)
            assert "pip install 'trio-lb[tls]'" in (lb.exchange.detail or "")
            assert lb.exchange.reason == TlsFailed.reason


async def test_a_full_poller_is_our_fault_and_not_the_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with over_tls() as lb:
        client = await lb.client()
        monkeypatch.setattr(secure_connect, "TlsWire", full)
        await client.says(GET)
        await client.hears(TooManyDescriptors.status)
        assert lb.exchange.reason == TooManyDescriptors.reason
        assert lb["one"].failures.total() in (0, 1)


async def test_a_backend_that_does_not_answer_the_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    with among(PLAIN):
        async with running(Backend, timeouts={"connect": 3}) as lb:
            prepared(lb, BackendTls())
            spec = lb["one"].spec
            lb.registry.change(lb["one"], type(spec)(id="one", url=spec.url.replace("http://", "https://")))
            client = await lb.asks(GET)
            await client.hears(504)
            assert lb.exchange.reason == ConnectTimeout.reason
            assert "did not end the TLS handshake in time" in (lb.exchange.detail or "")


async def test_a_pool_that_has_left_meanwhile_is_asked_nothing() -> None:
    """Its authority is unknown then."""
    async with over_tls(timeouts={"connect": 60}) as lb, lb.backend.answering(OK):
        prepared(lb, BackendTls())._pools = {}
        await (await lb.asks(GET)).hears(502)
        assert lb.exchange.reason == CertificateRefused.reason


# -- the second look ---------------------------------------------------------------------------------------


class Headed:
    """A backend that wants this header first, and TLS then. It closes connections that begin otherwise."""

    def __init__(self, header: bytes) -> None:
        self.header = header
        self.began_with: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])

    async def accept(self) -> None:
        self._listening.setblocking(False)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self._listening)
                sock, _ = self._listening.accept()
                nursery.start_soon(self._serve, trio.socket.from_stdlib_socket(sock))

    async def _serve(self, sock: trio.socket.SocketType) -> None:
        with sock:
            data = b""
            while len(data) < len(self.header) and (more := await sock.recv(len(self.header) - len(data))):
                data += more
            self.began_with.append(data)
            if data == self.header:
                secure = SecureSocket(sock, server_context(), None)
                with suppress(ssl.SSLError, OSError):
                    await secure.shake_hands()

    def connected(self) -> socket.socket:
        """A connection that has begun as it should."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setblocking(False)
        sock.send(self.header)
        return sock

    def close(self) -> None:
        self._listening.close()


@asynccontextmanager
async def headed(header: bytes) -> AsyncIterator[Headed]:
    before, there = open_sockets(), Headed(header)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.accept)
            yield there
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    finally:
        there.close()
    assert not open_sockets() - before


HEADER = b"PROXY UNKNOWN\r\n"


async def test_the_look_at_a_refused_certificate_begins_as_the_connection_did() -> None:
    async with headed(HEADER) as there:
        with pytest.raises(CertificateRefused, match=r"its certificate is for .*, not for b\.test"):
            await secured(there.connected(), None, trusting(), "b.test", "one", header=HEADER)
        assert there.began_with == [HEADER] * 2


async def test_a_request_looks_so_too() -> None:
    pool = {"proxy_protocol": 1, "tls": {"ca": files().ca, "name": "b.test"}}
    with among(PLAIN):
        async with headed(b"") as there, running(pools={"default": pool}) as lb:
            for each in lb.registry.pools.values():
                prepared(lb, each.settings.tls)
            url = f"https://127.0.0.1:{there.port}"
            lb.registry.change(lb["one"], BackendSpec(id="one", url=url))
            client = await lb.client()
            ports = client.sock.getsockname()[1], client.sock.getpeername()[1]
            there.header = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % ports
            await client.says(GET)
            await client.hears(502)
            assert there.began_with == [there.header] * 2
            assert "not for b.test" in (lb.exchange.detail or "")


def trusting() -> ToBackends:
    return to_backends(BackendTls(ca=files().ca))


async def test_a_probe_looks_so_too() -> None:
    async with headed(HEADER) as there:
        settings = BackendTls(ca=files().ca, name="b.test")
        target = ProbeTarget(Probe(), "127.0.0.1", there.port, settings, 1)
        with pytest.raises(ProbeFailed, match=r"its certificate is for .*, not for b\.test"):
            await connect_to(target, Anywhere(), TlsToProbed())  # type: ignore[arg-type]
        assert there.began_with == [HEADER] * 2


class Anywhere:
    """Names that are addresses."""

    async def addresses(self, host: str, port: int) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [(socket.AF_INET, (host, port))]

    def worked(self, *_what: object) -> None: ...


@pytest.mark.parametrize("look", ["it is gone", "it refuses", "it is silent"])
async def test_without_a_look_it_is_said_what_openssl_says(
    look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with headed(b"") as there:
        sock = there.connected()
        await trio.testing.wait_all_tasks_blocked()
        if look == "it is gone":
            monkeypatch.setattr(secure_connect, "peer_of", lambda _sock: None)
        elif look == "it refuses":
            monkeypatch.setattr(secure_connect, "connect", refuse)
        else:
            there.header = b"never comes"
        with pytest.raises(CertificateRefused, match="its certificate was refused: Hostname mismatch"):
            with trio.fail_after(1.0):
                await secured(sock, None, trusting(), "b.test", "one")


async def refuse(_addresses: object) -> socket.socket:
    await trio.lowlevel.checkpoint()
    raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


# -- probes ------------------------------------------------------------------------------------------------


async def test_a_probe_without_the_package_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirement, "PACKAGE", "no_such_package")
    async with stage() as it:
        target = ProbeTarget(Probe(), "a", 1, BackendTls())
        with pytest.raises(TlsFailed, match="pip install"):
            await TlsToProbed()(it.sock, target)


async def test_a_probe_with_a_file_that_cannot_be_used() -> None:
    async with stage() as it:
        target = ProbeTarget(Probe(), "a", 1, BackendTls(ca="/nowhere"))
        with pytest.raises(TlsFailed, match=r"tls\.ca: /nowhere"):
            await TlsToProbed()(it.sock, target)
