"""TLS with several workers: one certificate for all, swapped at one moment, whatever becomes of a worker."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from lb.config.loader import load
from lb.tls.refusal import HandshakeReason
from lb.workers.keeper import Keeper
from tests.system.program import Program, program, until
from tests.system.secure import ASKS, NAME, Front, Rush, shown
from tests.system.test_workers import IN_WORKERS, WORKERS, all_serve, pids
from tests.system.upgrades import HELLO, backend

SWAPS = 6
CLIENTS = 6


@asynccontextmanager
async def secure(folder: Path, more: str = "") -> AsyncIterator[tuple[Program, Front]]:
    """The program with workers and https:// before one backend."""
    async with backend() as port:
        front = Front(folder, port, more)
        async with program(*front.flags, *IN_WORKERS, listen=None) as lb:
            yield lb, front


@pytest.mark.needs("curl")
async def test_curl_gets_its_answer_from_each_worker(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, front):
        for _ in range(8):
            to = f"https://{NAME}:{lb.address.rpartition(':')[2]}/"
            command = ["curl", "-sS", "--cacert", front.authorities, to]
            command += ["--connect-to", f"::{lb.address}"]
            done = await trio.run_process(command, capture_stdout=True)
            assert done.stdout == HELLO


async def test_a_session_is_taken_up_again_by_the_worker_that_gave_it(tmp_path: Path) -> None:
    """By the others there is a whole handshake, which succeeds too."""
    async with secure(tmp_path) as (lb, front):
        resumed = await trio.to_thread.run_sync(resumptions, lb.address, front, 40)
    assert 0 < sum(resumed) < len(resumed)


def resumptions(address: str, front: Front, count: int) -> list[bool]:
    """Whether each further one of so many connections has taken up the session of the first.

    All stay open until the last, so that no worker is without some.
    """
    context, found = front.context(), list[bool]()
    host, _, port = address.rpartition(":")
    session: ssl.SSLSession | None = None
    with ExitStack() as still_open:
        for _ in range(count):
            plain = socket.create_connection((host, int(port)), timeout=20)
            tls = context.wrap_socket(plain, server_hostname=NAME, session=session)
            still_open.enter_context(tls)
            tls.sendall(ASKS)
            assert tls.recv(65536).endswith(HELLO)
            found.append(bool(tls.session_reused))
            session = session or tls.session
    return found[1:]


async def test_handshakes_and_refusals_of_all_workers_are_added(tmp_path: Path) -> None:
    """Here the keeper is in the process of the test, and its workers are processes."""
    async with backend() as port:
        front = Front(tmp_path, port, "admin.enabled = false")
        keeper = Keeper(load(front.flags[1]), WORKERS)
        async with trio.open_nursery() as nursery:
            await nursery.start(keeper.run)
            [address] = keeper.control.tls_listening
            resumed = await trio.to_thread.run_sync(resumptions, address, front, 12)
            for _ in range(4):
                await asks_plainly(address)
            await keeper.control.workers.refresh()
            assert keeper.control.tls is not None
            handshakes = keeper.control.tls.handshakes
            done = {
                is_resumed: handshakes.done[address, "TLSv1.3", is_resumed] for is_resumed in (True, False)
            }
            assert sum(done.values()) == sum(handshakes.durations.counts) == 12
            assert 0 < done[True] == sum(resumed) < 11
            assert handshakes.failed == {(address, HandshakeReason.PLAIN_HTTP): 4}
            peers = [each.peer for each in handshakes.last()]
            assert len({*peers}) == 4
            keeper.stop()


async def asks_plainly(address: str) -> None:
    host, _, port = address.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(ASKS)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("by", ["API", "SIGHUP", "files"])
async def test_a_certificate_is_swapped_under_load_and_nobody_fails(tmp_path: Path, by: str) -> None:
    async with secure(tmp_path) as (lb, front), trio.open_nursery() as nursery:
        rush = Rush(lb, front)
        nursery.start_soon(rush.run, CLIENTS)
        swaps = SWAPS if by != "files" else 2
        for number in range(swaps):
            serial = front.issue().certificate.serial_number
            if by == "API":
                await lb.api("POST", "/config/reload")
                assert await shown(lb, front) == {serial}  # the answer has come once all have it
            else:
                if by == "SIGHUP":
                    lb.process.send_signal(signal.SIGHUP)
                await until(partial(have_swapped, lb, number + 1))
                await until(partial(is_shown, lb, front, serial))
            assert await shown(lb, front) == {serial}
        rush.is_over = True
    assert rush.failures == [], lb.said.decode()
    assert len(rush.done) >= swaps
    assert b"died" not in lb.said


async def have_swapped(lb: Program, count: int) -> bool:
    return lb.said.count(b'"event": "certificates swapped"') >= count


async def is_shown(lb: Program, front: Front, serial: int) -> bool:
    return await shown(lb, front) == {serial}


async def test_files_that_cannot_be_used_change_nothing_in_any_worker(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, front):
        before = front.issued.certificate.serial_number
        (tmp_path / "www.pem").write_text("half a certificate")
        problem = await lb.api("POST", "/config/reload", 422)
        assert "the first of tls.certificates: chain: " in str(problem)
        assert await shown(lb, front) == {before}
        os.kill(pids(lb)[0], signal.SIGKILL)
        await all_serve(lb, WORKERS + 1)
        assert await shown(lb, front) == {before}  # the new worker too, although no such file is left
        after = front.issue().certificate.serial_number
        await lb.api("POST", "/config/reload")
        assert await shown(lb, front) == {after}


async def test_a_killed_worker_takes_only_its_own_handshakes_with_it(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, front), trio.open_nursery() as nursery:
        rush = Rush(lb, front)
        nursery.start_soon(rush.run, CLIENTS)
        await until(partial(has_done, rush, 50))
        os.kill(pids(lb)[0], signal.SIGKILL)
        await all_serve(lb, WORKERS + 1)
        failed, done = len(rush.failures), rush.done.total()
        await until(partial(has_done, rush, done + 100))
        rush.is_over = True
    assert failed <= CLIENTS
    assert len(rush.failures) == failed


async def has_done(rush: Rush, count: int) -> bool:
    return rush.done.total() >= count


async def test_other_settings_reach_all_workers(tmp_path: Path) -> None:
    """A reload with another [tls]: here the profile, under which TLS 1.2 is spoken no more."""
    async with secure(tmp_path) as (lb, front):
        old = front.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with await lb.connect_securely(old, NAME):
            pass
        front.configure('[tls]\nprofile = "modern"')
        await lb.api("POST", "/config/reload")
        for _ in range(6):
            with pytest.raises(trio.BrokenResourceError):
                await lb.connect_securely(old, NAME)
        async with await lb.connect_securely(front.context(), NAME):
            pass


async def test_a_certificate_that_no_worker_could_use_is_named_at_the_start(tmp_path: Path) -> None:
    front = Front(tmp_path, 9)
    (tmp_path / "www.key").write_text("no key")
    command = [sys.executable, "-m", "lb", "run", *front.flags, *IN_WORKERS]
    done = await trio.to_thread.run_sync(
        partial(subprocess.run, command, capture_output=True, text=True, timeout=60)
    )
    assert done.returncode == 2
    assert f"the first of tls.certificates: key: {tmp_path}/www.key" in done.stderr
    assert "worker" not in done.stderr
