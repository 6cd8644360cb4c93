"""The program is replaced while it speaks TLS: by one with TLS, with other certificates, or without."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.kit.half_hello import HalfHello
from tests.system.program import Program, until
from tests.system.secure import NAME, Front, Rush, asked, shown
from tests.system.upgrades import Traffic, backend, processes_of, upgradable

CLIENTS = 6
GRACE = 'timeouts.grace = "20s"\n'


@asynccontextmanager
async def secure(folder: Path, more: str = "") -> AsyncIterator[tuple[Program, Front]]:
    async with backend() as port:
        front = Front(folder, port, GRACE + more)
        async with upgradable(*front.flags, listen=None) as lb:
            yield lb, front


@pytest.mark.parametrize("workers", [1, 2])
async def test_upgrades_under_tls_traffic_fail_nobody(tmp_path: Path, workers: int) -> None:
    """Each with another certificate, which the new program has read before the old one ends."""
    async with secure(tmp_path, f"workers = {workers}\n") as (lb, front), trio.open_nursery() as nursery:
        connect = partial(lb.connect_securely, front.context(), NAME)
        rush, traffic = Rush(lb, front), Traffic(connect)  # type: ignore[arg-type]
        nursery.start_soon(rush.run, CLIENTS)
        nursery.start_soon(partial(traffic.run, kept=10, short=2, uploads=2, tunnels=2))
        for _ in range(2):
            serial = front.issue().certificate.serial_number
            await lb.upgrade()
            if workers > 1:  # those of the old program end once their spare process has
                await until(partial(is_shown, lb, front, serial), 5)
            assert await shown(lb, front) == {serial}
            await until(partial(has_shown, rush, serial))
        rush.is_over = True
        traffic.stop()
    assert (rush.failures, traffic.failures) == ([], []), lb.said.decode()
    assert all(traffic.done[kind] for kind in ("kept", "short", "upload", "tunnel")), traffic.done
    assert b"Traceback" not in lb.said


async def is_shown(lb: Program, front: Front, serial: int) -> bool:
    return await shown(lb, front) == {serial}


async def has_shown(rush: Rush, serial: int) -> bool:
    return rush.done[serial] > 0


async def test_a_certificate_that_cannot_be_used_refuses_the_upgrade(tmp_path: Path) -> None:
    async with secure(tmp_path) as (lb, front):
        pid, before = await lb.pid(), front.issued.certificate.serial_number
        (tmp_path / "www.pem").write_text("half a certificate")
        problem = await lb.upgrade(409)
        assert f"the first of tls.certificates: chain: {tmp_path}/www.pem" in problem["detail"]
        assert await lb.pid() == pid
        assert await shown(lb, front) == {before}


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_opening_that_is_under_way_is_finished_by_the_old_program(
    tmp_path: Path, workers: int
) -> None:
    """Half of its hello is there when another program begins to serve; it is not reset."""
    async with secure(tmp_path, f"workers = {workers}\n") as (lb, front):
        pid = await lb.pid()
        async with await lb.connect() as stream:
            client = HalfHello(stream, front.context(), NAME)
            await client.begin()
            async with await lb.connect_securely(front.context(), NAME) as other:
                await asked(other)  # so the connection before it has been accepted
            await lb.upgrade()
            await client.finish()
            answer = await client.asks()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answer.lower()  # as the program says that ends
        await until(partial(has_ended, lb, pid))


async def has_ended(lb: Program, pid: int) -> bool:
    return pid not in processes_of(lb.process.pid)


async def test_an_address_goes_from_plain_http_to_https_and_back(tmp_path: Path) -> None:
    """The socket is the same; what is spoken there is what the program that accepts was told."""
    async with backend() as port:
        front = Front(tmp_path, port, GRACE)
        front.configure(GRACE, listen="127.0.0.1:0")
        async with upgradable(*front.flags, listen=None) as lb, await lb.connect() as kept:
            await asked(kept)
            front.configure(GRACE, listen="https://127.0.0.1:0")
            await lb.upgrade()
            assert await shown(lb, front) == {front.issued.certificate.serial_number}
            assert b"connection: close" in (await asked(kept)).lower()
            async with await lb.connect() as plain:
                await plain.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await plain.receive_some()).startswith(b"HTTP/1.1 400 ")
            front.configure(GRACE, listen="127.0.0.1:0")
            await lb.upgrade()
            async with await lb.connect() as plain:
                await asked(plain)
