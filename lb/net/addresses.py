"""The addresses of backends as sockets take them: IPv4, IPv6 with or without a zone, Unix.

A host is what `lb.settings.backend_spec.parse_url` returns: an IP address, a name, or the path of a Unix
socket. A zone (RFC 6874) is the name or the number of a network interface. Its number may change while this
process runs, so it is looked up anew for each connection.
"""

import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from itertools import chain, zip_longest
from typing import Any

Address = tuple[socket.AddressFamily, Any]
"""(family, what `connect` takes): (host, port), (host, port, flow, zone), or a path."""


def literal(host: str, port: int) -> Address | None:
    """The address, where `host` is an IP address or a path; None where it is a name.

    Raises OSError where this machine has no interface with the name of the zone.
    """
    if host.startswith("/"):
        return socket.AF_UNIX, host
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return socket.AF_INET, (host, port)
    plain, _, zone = host.partition("%")
    return socket.AF_INET6, (plain, port, 0, _interface(zone) if zone else 0)


def is_name(host: str) -> bool:
    """Whether `host` has to be resolved."""
    try:
        ip_address(host)
    except ValueError:
        return not host.startswith("/")
    return False


def _interface(zone: str) -> int:
    if zone.isdecimal():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        raise OSError(errno.ENODEV, f"this machine has no network interface {zone!r}") from None


def with_port(address: Address, port: int) -> Address:
    family, (host, _, *rest) = address
    return family, (host, port, *rest)


def without_port(address: Address) -> Address:
    """The address as `Names` compares it."""
    return address if address[0] == socket.AF_UNIX else with_port(address, 0)


def in_turns(addresses: Iterable[Address]) -> list[Address]:
    """Each address once, the two families in turns, in their order otherwise (RFC 8305 section 4)."""
    found = list(dict.fromkeys(addresses))
    first = [address for address in found if address[0] == found[0][0]]
    rest = [address for address in found if address[0] != found[0][0]]
    return [address for address in chain(*zip_longest(first, rest)) if address is not None]


def peer_of(sock: socket.socket) -> Address | None:
    """The address that a socket is connected to; None where its connection has broken already."""
    try:
        peer = sock.getpeername()
    except OSError:
        return None
    return socket.AddressFamily(sock.family), peer
