"""A chain of certificates that is longer than a fresh socket takes at once is sent on as the client reads."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.serialization import Encoding

from lb.tls.refusal import HandshakeReason
from tests.kit import GET, OK, Line, Scene, lasting, running, virtual_time
from tests.kit.certificates import authority, certificate
from tests.kit.client import connected
from tests.kit.wires import Wires, among
from tests.proxy.test_tls_attack import HANDSHAKE_SECONDS, hello, reasons

NAMES = ["a.test", *(f"one-of-many-{number}.name.test" for number in range(2200))]
CHAIN_BYTES = 60_000
LITTLE = 4096


@asynccontextmanager
async def with_a_long_chain(folder: Path) -> AsyncIterator[tuple[Scene, str]]:
    """A balancer whose sockets take little at once, and the file of the authority of its certificate."""
    root = authority()
    issued = certificate(*NAMES, by=root)
    assert len(issued.certificate.public_bytes(Encoding.DER)) > CHAIN_BYTES
    (ca := folder / "ca.pem").write_text(root.pem)
    chain, key = issued.write(folder)
    with among(Wires(front=True)):
        async with running(tls={"certificates": [{"chain": chain, "key": key}]}) as lb:
            [[listener]] = lb.balancer.listeners.values()
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LITTLE)  # for those it accepts
            yield lb, str(ca)


def holds_slow(lb: Scene) -> None:
    """From now on the key is held for one that signs slowly."""
    termination = lb.balancer.traffic.termination
    assert termination is not None
    served = termination.certificates.find("a.test")
    assert served is not None
    served.certificates = tuple(replace(each, key_type="RSA", key_bits=4096) for each in served.certificates)


@pytest.mark.parametrize("is_slow", [False, True], ids=["in the loop", "in a thread"])
async def test_it_is_sent_on_until_the_handshake_is_done(is_slow: bool, tmp_path: Path) -> None:
    async with with_a_long_chain(tmp_path) as (lb, ca), lb.backend.answering(OK):
        if is_slow:
            holds_slow(lb)
        with trio.fail_after(20):
            client = await connected(lb.balancer.control.listening[0], ca=ca, name="a.test")
            lb.clients.append(client)
            await client.says(GET)
            await client.hears(200)
        assert not reasons(lb)


async def stops_reading(lb: Scene) -> Line:
    """A client that has said its hello, and whose kernel takes little of what follows."""
    host, _, port = lb.balancer.control.listening[0].rpartition(":")
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
    await sock.connect((host, int(port)))
    line = Line(sock)
    lb.clients.append(line)  # type: ignore[arg-type]  # it is closed with them
    await line.says(hello("a.test"))
    await trio.testing.wait_all_tasks_blocked()
    return line


@virtual_time
async def test_who_does_not_read_it_has_the_time_of_a_handshake(tmp_path: Path) -> None:
    async with with_a_long_chain(tmp_path) as (lb, _):
        await stops_reading(lb)
        await trio.sleep(HANDSHAKE_SECONDS - 0.01)
        assert not reasons(lb)
        await trio.sleep(0.02)
        assert reasons(lb) == [HandshakeReason.TOO_SLOW]


@virtual_time
async def test_who_leaves_in_the_middle_of_it_has_hung_up(tmp_path: Path) -> None:
    async with with_a_long_chain(tmp_path) as (lb, _):
        with lasting(0.0):
            line = await stops_reading(lb)
            assert not reasons(lb)
            line.closes()
            while not reasons(lb):
                await trio.testing.wait_all_tasks_blocked()
        assert reasons(lb) == [HandshakeReason.HUNG_UP]
