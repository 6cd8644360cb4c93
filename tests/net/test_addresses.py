"""Addresses as sockets take them."""

import errno
import socket

import pytest

from lb.net.addresses import Address, in_turns, is_name, literal, peer_of, with_port, without_port

V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", (V4, ("127.0.0.1", 80))),
        ("::1", (V6, ("::1", 80, 0, 0))),
        ("fe80::1%7", (V6, ("fe80::1", 80, 0, 7))),
        ("::1%lo", (V6, ("::1", 80, 0, socket.if_nametoindex("lo")))),
        ("/run/app.sock", (UNIX, "/run/app.sock")),
        ("a.test", None),
        ("localhost", None),
    ],
)
def test_a_literal_needs_no_resolver(host: str, address: Address | None) -> None:
    assert literal(host, 80) == address
    assert is_name(host) is (address is None)


def test_a_zone_without_an_interface_is_an_error_that_names_it() -> None:
    with pytest.raises(OSError, match="no network interface 'nosuch0'") as caught:
        literal("fe80::1%nosuch0", 80)
    assert caught.value.errno == errno.ENODEV


def test_the_families_come_in_turns_and_each_address_once() -> None:
    four = [(V4, (f"10.0.0.{last}", 80)) for last in range(3)]
    six = [(V6, (f"::{last}", 80, 0, 0)) for last in range(2)]
    assert in_turns([*six, *four, four[0]]) == [six[0], four[0], six[1], four[1], four[2]]
    assert in_turns([*four, *six]) == [four[0], six[0], four[1], six[1], four[2]]
    assert in_turns(four) == four
    assert in_turns([]) == []


def test_the_port_of_an_address_can_be_another() -> None:
    assert with_port((V4, ("10.0.0.1", 0)), 81) == (V4, ("10.0.0.1", 81))
    assert with_port((V6, ("::1", 0, 0, 3)), 81) == (V6, ("::1", 81, 0, 3))
    assert without_port((V6, ("::1", 81, 0, 3))) == (V6, ("::1", 0, 0, 3))
    assert without_port((UNIX, "/run/x")) == (UNIX, "/run/x")


def test_the_peer_of_a_socket_that_is_not_connected_is_unknown() -> None:
    with socket.socket() as sock:
        assert peer_of(sock) is None
