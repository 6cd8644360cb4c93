"""A key that signs slowly: its handshakes are made in a thread, and nothing is lost between the two."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lb.net.tls_wire import TlsWire
from lb.proxy.client_side.opening import Opening, Openings
from tests.kit import GET, OK, Scene, running
from tests.kit.certificates import authority, certificate, rsa_key
from tests.kit.client import connected
from tests.kit.line import Ended
from tests.proxy.client_side.test_fast_path import fail_once

pytestmark = pytest.mark.pure
NAMES = {"quick.test": 0, "slow.test": 4096}


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Scene]:
    root = authority()
    (folder / "ca.pem").write_text(root.pem)
    made = [
        certificate(name, by=root, key=rsa_key(bits) if bits else None).write(folder, name)
        for name, bits in NAMES.items()
    ]
    certificates = [{"chain": chain, "key": key} for chain, key in made]
    async with running(listen=["https://127.0.0.1:0"], tls={"certificates": certificates}) as lb:
        yield lb


async def is_answered(lb: Scene, folder: Path, name: str) -> None:
    address = lb.balancer.control.listening[0]
    client = await connected(address, ca=str(folder / "ca.pem"), name=name)
    lb.clients.append(client)
    await client.says(GET)
    peer = await lb.backend.hears()
    await peer.says(OK)
    await client.hears(200)


@pytest.mark.parametrize("name", NAMES)
async def test_every_step_of_a_slow_handshake_is_made_in_a_thread(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    handshake_now = TlsWire.handshake_now

    def counted(wire: TlsWire) -> bool:
        threads.append(threading.get_ident())
        return handshake_now(wire)

    monkeypatch.setattr(TlsWire, "handshake_now", counted)
    async with serving(tmp_path) as lb:
        await is_answered(lb, tmp_path, name)
    is_slow = NAMES[name] > 0
    assert threads
    assert all((thread != threading.get_ident()) is is_slow for thread in threads)


async def test_what_comes_while_the_thread_empties_the_wire_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edge comes after the thread found nothing more, and before it says so."""
    handshake_now = TlsWire.handshake_now
    wires: list[TlsWire] = []
    has_looked, is_noticed = threading.Event(), threading.Event()

    def late(wire: TlsWire) -> bool:
        is_done = handshake_now(wire)
        if not wires:
            wires.append(wire)
            has_looked.set()
            assert is_noticed.wait(10)
            wire.was_emptied()
        return is_done

    monkeypatch.setattr(TlsWire, "handshake_now", late)
    async with serving(tmp_path) as lb:
        with trio.fail_after(8):  # less than a handshake may last
            async with trio.open_nursery() as nursery:
                nursery.start_soon(is_answered, lb, tmp_path, "slow.test")
                await trio.to_thread.run_sync(has_looked.wait)
                while not wires[0].is_ready:  # noqa: ASYNC110  # an edge is no event of the test's
                    await trio.sleep(0.01)
                is_noticed.set()


async def test_a_bug_after_a_step_in_a_thread_ends_that_opening_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as lb:
        lb.errors_expected = 1
        monkeypatch.setattr(Opening, "secured", fail_once(Opening.secured))
        client = await connected(
            lb.balancer.control.listening[0], ca=str(tmp_path / "ca.pem"), name="slow.test"
        )
        lb.clients.append(client)
        with pytest.raises((OSError, Ended)):
            await client.hears(200)
        await is_answered(lb, tmp_path, "slow.test")


async def test_no_socket_is_left_where_all_ends_before_the_thread_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kit counts the sockets when the balancer has ended."""
    take_turn = Openings._take_turn
    has_ended = trio.Event()

    def ends(openings: Openings, opening: Opening) -> None:
        take_turn(openings, opening)
        if opening.is_busy:
            openings.close()
            has_ended.set()

    monkeypatch.setattr(Openings, "_take_turn", ends)
    async with serving(tmp_path) as lb:
        with pytest.raises(OSError):
            await is_answered(lb, tmp_path, "slow.test")
        assert has_ended.is_set()
