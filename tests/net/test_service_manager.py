"""Whether there is a service manager, and how often it wants to hear that all is well."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from lb.net.service_manager import ServiceManager


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


def test_one_that_reads_nothing_holds_up_nothing(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(10_000):
            manager.alive()
        manager.close()
