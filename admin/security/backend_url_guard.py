"""Addresses that no backend may have: the balancer's own, a loop, and those that give power over a machine.

Only the text of the address is judged. A name that resolves to such an address is not found here; a request
that comes back to the balancer is then stopped by its field Via.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from posixpath import normpath

from admin.security.host_check import is_loopback
from lb.settings.backend_spec import parse_url
from lb.settings.listen_address import TcpAddress, parse_address

CONTROL_SOCKETS = re.compile(
    r"(/var)?/run/(docker\.sock|podman/.*|containerd/.*|crio/.*|dbus/.*|systemd/.*|snapd.*\.socket)"
)
"""Unix sockets that serve whoever may connect to them, as this balancer may, with power over the machine."""
METADATA = frozenset({IPv4Address("169.254.169.254"), IPv6Address("fd00:ec2::254")})

IP = IPv4Address | IPv6Address


def objection(url: str, own: Iterable[str]) -> str | None:
    """Why no backend may have this well-formed URL, or None; `own` are the addresses that we listen on."""
    host, port = parse_url(url)
    if host.startswith("/"):
        return _objection_to_path(normpath(host), own)
    address = _ip(host)
    if address is None and _looks_numeric(host):
        return f"{host!r} is a number, but not an IP address"
    if address in METADATA:
        return f"{host} is the metadata service of a cloud, never a backend"
    if any(_is_same(host, address, port, listening) for listening in own):
        return f"{host}:{port} is this balancer itself"
    return None


def _objection_to_path(path: str, own: Iterable[str]) -> str | None:
    if CONTROL_SOCKETS.fullmatch(path):
        return f"{path} controls this machine, and is never a backend"
    if any(normpath(listening[5:]) == path for listening in own if listening.startswith("unix:")):
        return f"{path} is this balancer itself"
    return None


def _is_same(host: str, address: IP | None, port: int, listening: str) -> bool:
    ours = _tcp(listening)
    if ours is None or ours.port != port:
        return False
    if ours.host.lower() == host.lower() or (_is_here(host, address) and _is_here(ours.host, _ip(ours.host))):
        return True
    return address is not None and address == _ip(ours.host)


def _is_here(host: str, address: IP | None) -> bool:
    """Whether connecting to this address reaches this machine: it is loopback, or every interface."""
    return not host or is_loopback(host) or (address is not None and address.is_unspecified)


def _tcp(listening: str) -> TcpAddress | None:
    try:
        address = parse_address(listening.removeprefix("http://").rstrip("/"))
    except ValueError:
        return None
    return address if isinstance(address, TcpAddress) else None


def _ip(host: str) -> IP | None:
    try:
        address = ip_address(host.partition("%")[0])  # a zone makes no other address of it
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _looks_numeric(host: str) -> bool:
    """Whether the C library reads it as an IPv4 address while `ipaddress` does not: 2852039166, 127.1."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdecimal() or last.startswith("0x")
