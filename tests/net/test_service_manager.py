"""Whether there is a service manager, and how often it wants to hear that all is well."""

import socket
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from lb.net.service_manager import PATIENCE_SECONDS, ServiceManager
from tests.kit import lasting, virtual_time


@pytest.mark.parametrize(
    ("variables", "every"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_it_is_told_twice_in_its_interval(variables: dict[str, str], every: float | None) -> None:
    assert ServiceManager(variables, pid=7).alive_every == every


@pytest.mark.parametrize("address", ["", "@", "vsock:2:1", "relative"])
def test_an_address_of_another_kind_is_none(address: str) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": address})
    manager.alive()
    manager.close()


def test_a_status_is_one_line(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        manager.ready("a\nMAINPID=1")
        assert sock.recv(1000) == b"READY=1\nSTATUS=a MAINPID=1"
        manager.close()
    manager.alive()


def test_a_start_may_take_longer(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        manager.starting("it waits", 1.5)
        assert sock.recv(1000) == b"EXTEND_TIMEOUT_USEC=1500000\nSTATUS=it waits"
        manager.close()


def test_one_that_reads_nothing_holds_up_nothing(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(10_000):
            manager.alive()
        manager.close()


async def test_that_another_process_is_the_main_one_waits_for_a_slow_manager(tmp_path: Path) -> None:
    """Its queue is full of what it was told before; this message alone must not be lost."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(100):
            manager.alive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.replaced_by, 4711)
            await trio.testing.wait_all_tasks_blocked(0.001)
            told = _emptied(sock)
        assert set(told) == {b"WATCHDOG=1"}
        assert _emptied(sock) == [b"MAINPID=4711"]
        manager.alive()
        assert _emptied(sock) == []


@virtual_time
async def test_a_manager_that_reads_nothing_does_not_hold_up_the_handover(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(100):
            manager.alive()
        with lasting(PATIENCE_SECONDS):
            await manager.replaced_by(4711)


def _emptied(sock: socket.socket) -> list[bytes]:
    told = []
    try:
        while True:
            told.append(sock.recv(1000))
    except BlockingIOError:
        return told
