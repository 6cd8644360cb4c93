"""Addresses of ours that stand in each other's way, and backends that are this balancer itself."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from lb.config.decode import join
from lb.config.spoken_keys import spoken
from lb.core.allowed_addresses import IP, ip, is_here
from lb.settings.backend_spec import BackendSpec, parse_url
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import (
    Address,
    FdAddress,
    TcpAddress,
    UnixAddress,
    bare_address,
    parse_address,
)

EVERYWHERE = "everywhere"
"""Stands for the host of a listener on every interface."""
LOOPBACK: Mapping[int, IP] = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}
"""Where a connection to an address that is none leads."""
NUMBER = "(?:0x[0-9a-f]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9})"
NUMBERS = re.compile(rf"{NUMBER}(?:\.{NUMBER}){{0,3}}", re.ASCII | re.IGNORECASE)
"""What the system's resolver takes for an IPv4 address."""
Place = tuple[object, int]


def listeners(config: Config, *, with_admin: bool = True) -> Iterator[tuple[str, str]]:
    """Each address that we listen on, with its key. Those that could not be read are left out."""
    for index, text in enumerate(config.listen):
        if text is not None:
            yield f"listen[{index}]", text
    if with_admin and config.admin.enabled:
        yield "admin.listen", config.admin.listen


def clashes(config: Config) -> Iterator[str]:
    """A mistake for each address of ours that another one of ours has taken."""
    taken: dict[tuple[object, ...], str] = {}
    for key, text in listeners(config):
        address = parse_address(text)
        if (first := next((taken[each] for each in _met(address) if each in taken), None)) is not None:
            yield f"{key}: {bare_address(text)} is taken by {spoken(first)}"
        for each in _taken(address):
            taken.setdefault(each, key)


def _taken(address: Address) -> Iterator[tuple[object, ...]]:
    """What a listener takes: its own place, and that one is at its port."""
    match address:
        case UnixAddress(path=path):
            yield "unix", _path(path)
        case FdAddress(fd=fd):
            yield "fd", fd
        case TcpAddress(host=host, port=port) if port:
            for family in _families(host):
                yield "port", port, family
                yield "host", port, family, EVERYWHERE if _is_everywhere(host) else _host(host)


def _met(address: Address) -> Iterator[tuple[object, ...]]:
    """What no other listener may have taken."""
    match address:
        case UnixAddress() | FdAddress():
            yield from _taken(address)
        case TcpAddress(host=host, port=port) if port:
            for family in _families(host):
                if _is_everywhere(host):
                    yield "port", port, family
                else:
                    yield "host", port, family, EVERYWHERE
                    yield "host", port, family, _host(host)


def _host(host: str) -> object:
    return _address(host) or host.lower().rstrip(".")


def _address(host: str) -> IP | None:
    """The address that this text is, also one of fewer numbers than four, as in 127.1; None for a name."""
    address = ip(host)
    return _of_numbers(host) if address is None and NUMBERS.fullmatch(host) else address


def _of_numbers(host: str) -> IP | None:
    """The IPv4 address of one to four numbers; the last one stands for all that is left: inet_aton(3)."""
    *first, last = (int(part, _base(part)) for part in host.split("."))
    left = 4 - len(first)
    if any(number > 255 for number in first) or last >= 256**left:
        return None
    return IPv4Address(int.from_bytes(bytes(first), "big") * 256**left + last)


def _base(number: str) -> int:
    if number[:2].lower() == "0x":
        return 16
    return 8 if number.startswith("0") else 10


def _path(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError:  # the current folder is gone
        return path


def _is_everywhere(host: str) -> bool:
    address = _address(host)
    return not host or (address is not None and address.is_unspecified)


def _families(host: str) -> tuple[int, ...]:
    """The families of a host; of a name it is not known which."""
    address = _address(host)
    return (4, 6) if address is None else (address.version,)


def loops(config: Config) -> Iterator[str]:
    """A mistake for each backend that is a listener of ours, as far as the text of its URL tells."""
    yield from _leading_to(dict(_places(listeners(config, with_admin=False))), config)


def places(config: Config) -> Mapping[Place, str]:
    """Where somebody who connects finds a listener of ours or the admin side, with its key."""
    return dict(_places(listeners(config)))


def at_our_ports(ours: Mapping[Place, str], config: Config) -> Iterator[tuple[str, BackendSpec, str, int]]:
    """Each backend at a port that we listen on: the key of its URL, itself, its host and port."""
    ports = {port for _, port in ours}
    for name, pool in config.pools.items():
        for index, backend in enumerate(pool.backends if pool else ()):
            host, port = ("", -1) if backend is None else parse_url(backend.url)
            if port in ports and backend is not None:
                yield f"{join('pools', name)}.backends[{index}].url", backend, host, port


def admin_loops(config: Config) -> Iterator[str]:
    """The same of our admin side, where requests through us come from this machine."""
    if config.admin.enabled:
        yield from _leading_to(dict(_places([("admin.listen", config.admin.listen)])), config)


def _leading_to(ours: Mapping[Place, str], config: Config) -> Iterator[str]:
    for place, backend, host, port in at_our_ports(ours, config):
        if (key := listener_at(ours, host, port)) is not None:
            yield f"{place}: {backend.url} is this balancer itself ({spoken(key)})"


def server(url: str) -> Place:
    """The place that a backend's URL leads to, as far as its text tells, however it is spelt."""
    host, port = parse_url(url)
    return _path(host) if host.startswith("/") else _host(host), port


def _places(listening: Iterable[tuple[str, str]]) -> Iterator[tuple[Place, str]]:
    """Where somebody who connects finds a listener of ours, with its key."""
    for key, text in listening:
        match parse_address(text):
            case UnixAddress(path=path):
                yield (_path(path), 0), key
            case TcpAddress(host=host, port=port):
                for family in _families(host):
                    yield ((EVERYWHERE, family) if _is_everywhere(host) else _host(host), port), key


def listener_at(ours: Mapping[Place, str], host: str, port: int, *, is_local: bool = False) -> str | None:
    """The key of our listener that is reached at this host and port, or None.

    `is_local`: the host is an address of this machine.
    """
    if not port:
        return ours.get((_path(host), 0))
    address = _address(host)
    if address is None:
        return ours.get((_host(host), port))
    if address.is_unspecified:
        address = LOOPBACK[address.version]
    everywhere = (EVERYWHERE, address.version), port
    return ours.get((address, port)) or (ours.get(everywhere) if is_local or is_here(address) else None)
