"""The addresses that we accept on, as `lb.toml` and the flags write them."""

import re
from ipaddress import ip_address
from typing import Annotated

import msgspec

from lb.settings.backend_spec import HOST, ZONE

UNIX_OPTIONS = {"mode": re.compile("0?[0-7]{3}"), "group": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?")}


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
    """A Unix socket in the file system; None is the usual mode of such a listener, and the usual group."""

    path: str
    mode: int | None = None
    group: str | None = None


Address = TcpAddress | FdAddress | UnixAddress


def parse_address(text: str) -> Address:
    """The address in `HOST:PORT`, `:PORT`, `[IPV6]:PORT`, `fd://N` or `unix:PATH`; ValueError otherwise.

    `?mode=0660&group=www-data` behind the path of a Unix socket, or either of them, says who may connect.
    """
    if text.startswith("fd://") and text[5:].isdecimal() and text.isascii():
        return FdAddress(int(text[5:]))
    if text.startswith("unix:") and text[5:].strip("\0"):
        return _unix(text)
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


def _unix(text: str) -> UnixAddress:
    path, asks, query = text.removeprefix("unix:").partition("?")
    options = dict.fromkeys(UNIX_OPTIONS, "")
    for option in query.split("&") if asks else ():
        name, _, value = option.partition("=")
        if name not in options or options[name] or not UNIX_OPTIONS[name].fullmatch(value):
            raise ValueError(f"{text!r}: expected ?mode=0660&group=NAME behind the path, not {option!r}")
        options[name] = value
    if not path:
        raise ValueError(f"{text!r} names no path")
    mode, group = options["mode"], options["group"]
    return UnixAddress(path, int(mode, 8) if mode else None, group or None)


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
