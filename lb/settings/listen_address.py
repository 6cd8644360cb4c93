"""The addresses that we accept on, as `lb.toml` and the flags write them."""

from ipaddress import ip_address
from typing import Annotated

import msgspec

from lb.settings.backend_spec import HOST, ZONE


class TcpAddress(msgspec.Struct, frozen=True):
    """A host and a port. An empty host means every interface, port 0 any free port.

    An IPv6 address may have a zone behind a `%`.
    """

    host: str
    port: int


class FdAddress(msgspec.Struct, frozen=True):
    """A listening socket that this process inherited, as systemd hands it over."""

    fd: int


class UnixAddress(msgspec.Struct, frozen=True):
    """A Unix socket in the file system."""

    path: str


Address = TcpAddress | FdAddress | UnixAddress


def parse_address(text: str) -> Address:
    """The address in `HOST:PORT`, `:PORT`, `[IPV6]:PORT`, `fd://N` or `unix:PATH`; ValueError otherwise."""
    if text.startswith("fd://") and text[5:].isdecimal() and text.isascii():
        return FdAddress(int(text[5:]))
    if text.startswith("unix:") and text[5:].strip("\0"):
        return UnixAddress(text[5:])
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and port.isascii() and int(port) <= 65535:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host
        if not host or (_is_host(bare) and (":" in bare) is (bare != host)):
            return TcpAddress(bare, int(port))
    raise ValueError(f"{text!r} is not HOST:PORT, :PORT, [IPV6]:PORT, fd://N or unix:PATH")


def _is_host(bare: str) -> bool:
    address, percent, zone = bare.partition("%")
    if percent and not (":" in address and ZONE.fullmatch(zone)):
        return False
    return HOST.fullmatch(address) is not None


def is_loopback(address: Address) -> bool:
    """Whether only this machine can connect. An inherited socket may be bound anywhere: False."""
    if not isinstance(address, TcpAddress):
        return isinstance(address, UnixAddress)
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return address.host.lower() == "localhost"


def _checked(value: object) -> str:
    text = msgspec.convert(value, str)
    parse_address(text)
    return text


Listen = Annotated[str, _checked]
"""Text that `parse_address` accepts. Settings keep the text, because messages and the API show it."""
