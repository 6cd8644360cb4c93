"""Sockets that another program has opened: who takes them, and whose the files are."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lb.net.handed_listeners import HandedListeners, place_of
from lb.net.listener import open_listeners
from lb.settings.listen_address import parse_address


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def is_open(number: int) -> bool:
    try:
        socket.socket(fileno=number).detach()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        (":8080", ":8080", True),
        (":8080", "127.0.0.1:8080", False),
        (":8080", "https://:8080", True),
        ("https://:8080", "proxy+https://:8080", True),
        ("https://:8080", "https://:8443", False),
        ("unix:/run/lb.sock", "unix:/run/lb.sock?mode=0600", True),
        ("unix:/run/lb.sock", "unix:/run/other.sock", False),
        ("fd://3", "fd://3", True),
        ("fd://3", "fd://4", False),
        ("[::1]:80", "[::1]:80", True),
    ],
)
def test_addresses_that_name_one_place(one: str, other: str, are_one: bool) -> None:
    assert (place_of(one) == place_of(other)) is are_one


def test_a_socket_is_taken_once_and_the_rest_is_closed(bound: socket.socket) -> None:
    first, second = bound.dup().detach(), bound.dup().detach()
    handed = HandedListeners([(":1", [first]), (":2", [second])])
    assert handed.take(":3") == []
    [listener] = handed.take(":1")
    assert listener.sock.fileno() == first
    assert handed.take(":1") == []
    assert handed.taken == [":1"]
    handed.close_rest()
    assert is_open(first)
    assert not is_open(second)
    listener.close()


def test_an_address_that_stands_there_twice_is_taken_twice(bound: socket.socket) -> None:
    numbers = [bound.dup().detach(), bound.dup().detach()]
    handed = HandedListeners([("127.0.0.1:0", [number]) for number in numbers])
    for number in numbers:
        [listener] = handed.take("127.0.0.1:0")
        assert listener.sock.fileno() == number
        listener.close()


async def test_a_file_is_removed_only_by_the_program_that_it_belongs_to(tmp_path: Path) -> None:
    """At first the one that has made it; after the other is gone, the one that has taken it over."""
    address = f"unix:{tmp_path}/lb.sock"
    [old] = await open_listeners(parse_address(address))
    handed = HandedListeners([(address, [old.sock.dup().detach()])])
    [new] = handed.take(f"{address}?mode=0600")
    assert (tmp_path / "lb.sock").stat().st_mode & 0o777 == 0o600
    again = HandedListeners([(address, [new.sock.dup().detach()])])
    [failed] = again.take(address)
    failed.close()
    assert (tmp_path / "lb.sock").exists()
    old.is_handed_over = True
    old.close()
    assert (tmp_path / "lb.sock").exists()
    handed.own_files()
    new.close()
    assert not (tmp_path / "lb.sock").exists()
