"""A bug in the opening of one connection ends that one only: its client, its place and its socket.

Each is injected once. A client that had begun before goes on, others come after it, and the scene checks at
its end that no place is taken and no socket is open.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from lb.certificate_files.handshake_log import HandshakeLog
from lb.certificate_files.handshaking import Handshaking
from lb.net.tls_wire import TlsWire
from lb.net.wire import Wire
from lb.proxy.acceptor import Server
from lb.proxy.client_side import opening, proxy_opening
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.client_side.opening import Opening, Openings
from tests.kit import GET, OK, Scene, running, virtual_time
from tests.kit.half_hello import HalfHello
from tests.kit.wires import Wires, among, client_context, files
from tests.proxy.client_side.test_fast_path import fail_once
from tests.proxy.client_side.test_proxy_opening import TLS, V1, behind, shakes_hands

pytestmark = [virtual_time, pytest.mark.pure]

STEPS = {
    "choosing": (Handshaking, "choose"),
    "the hello": (opening, "read_client_hello"),
    "the handshake": (TlsWire, "handshake_now"),
    "what was agreed on": (Opening, "secured"),
    "the count": (HandshakeLog, "succeeded"),
    "the connection": (ClientConnection, "__init__"),
    "its first wait": (ClientConnection, "become_idle"),
}


@asynccontextmanager
async def secure(**config: Any) -> AsyncIterator[tuple[Scene, HalfHello]]:
    """A balancer, and a client that has said the half of its hello; it gets its answer in the end."""
    with among(Wires(front=True)):
        async with running(**config) as lb, lb.backend.answering(OK):
            host, _, port = lb.balancer.control.listening[0].rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                other = HalfHello(stream, client_context(files().ca), "a")
                await other.begin()
                await trio.testing.wait_all_tasks_blocked()
                yield lb, other
                await other.finish()
                assert (await other.asks()).startswith(b"HTTP/1.1 200 ")


async def is_refused(lb: Scene) -> None:
    """A client gets no answer. With TLS 1.3 it may hold its handshake to be good."""
    with pytest.raises((OSError, AssertionError)):  # noqa: PT012  # the one or the other
        client = await lb.client()
        await client.says(GET)
        await client.hears(200)


async def is_served(lb: Scene) -> None:
    await (await lb.asks(GET)).hears(200)


@pytest.mark.parametrize("name", STEPS)
async def test_a_bug_in_a_step_ends_that_opening_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, method = STEPS[name]
    async with secure() as (lb, _):
        lb.errors_expected = 1
        monkeypatch.setattr(where, method, fail_once(getattr(where, method)))
        await is_refused(lb)
        await is_served(lb)
        assert sum(counts.open for counts in lb.metrics.listeners.values()) <= 2


@pytest.mark.parametrize("broken", ["the words", "the log"])
async def test_a_refusal_that_cannot_be_told_ends_the_opening_all_the_same(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secure() as (lb, _):
        lb.errors_expected = 1
        where: Any = opening if broken == "the words" else HandshakeLog
        method = "refusal" if broken == "the words" else "refused"
        monkeypatch.setattr(where, method, fail_once(getattr(where, method)))
        if broken == "the words":
            monkeypatch.setattr(Handshaking, "choose", once(None, Handshaking.choose))
        else:
            monkeypatch.setattr(TlsWire, "handshake_now", once(OSError("gone"), TlsWire.handshake_now))
        await is_refused(lb)
        await is_served(lb)


def once(result: object, method: Any) -> Any:
    """The method, but for its first call, which returns or raises this."""
    calls: list[object] = []

    def called(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 1:
            return method(*arguments)
        if isinstance(result, Exception):
            raise result
        return result

    return called


async def test_nor_does_it_end_the_task_of_all_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    async with secure(timeouts={"handshake": 5}) as (lb, _):
        lb.errors_expected = 1
        monkeypatch.setattr(HandshakeLog, "refused", fail_once(HandshakeLog.refused))
        host, _, port = lb.balancer.control.listening[0].rpartition(":")
        await trio.sleep(1)
        with trio.socket.socket() as sock:
            await sock.connect((host, int(port)))
            with trio.move_on_after(3.9):
                await sock.recv(1)
        await is_served(lb)


# -- before TLS, or HTTP -----------------------------------------------------------------------------------

READING = {
    "reading": (proxy_opening, "read_proxy_header"),
    "receiving": (Wire, "receive_raw_now"),
    "whose it is": (proxy_opening, "_incoming"),
    "the place": (Server, "_is_one_too_many"),
    "the connection": (ClientConnection, "__init__"),
}


@pytest.mark.parametrize("name", READING)
async def test_a_bug_in_a_header_ends_that_connection_only(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, method = READING[name]
    async with behind() as lb, lb.backend.answering(OK):
        lb.errors_expected = 1
        other = await lb.client()
        await other.says(V1[:9])
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(where, method, fail_once(getattr(where, method)))
        client = await lb.asks(V1 + GET)
        _, how = await client.hears_all()
        assert how in ("end", "reset")
        await other.says(V1[9:] + GET)
        await other.hears(200)
        await (await lb.asks(V1 + GET)).hears(200)


async def test_a_bug_behind_a_header_ends_that_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = [{"chain": files().chain, "key": files().key}]
    async with behind(listen=[TLS], tls={"certificates": certificates}) as lb, lb.backend.answering(OK):
        lb.errors_expected = 1
        monkeypatch.setattr(Openings, "go_on", fail_once(Openings.go_on))
        client = await lb.asks(V1)
        _, how = await client.hears_all()
        assert how in ("end", "reset")
        again = await lb.asks(V1)
        await (await shakes_hands(again, "a")).says(GET)
        await again.hears(200)
