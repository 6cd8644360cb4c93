"""The addresses that we accept on, as `lb.toml` and the flags write them."""

import re
from ipaddress import ip_address
from typing import Annotated

import msgspec

from lb.settings.backend_spec import HOST, ZONE
from lb.settings.meant_values import HIGHEST_PORT, addresses, first_right

UNIX_OPTIONS = {"mode": re.compile("0?[0-7]{3}"), "group": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?")}


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """What is spoken at an address: HTTP, behind TLS, and behind a header of the PROXY protocol or both."""

    is_tls: bool = False
    takes_proxy_header: bool = False


class TcpAddress(Spoken, frozen=True):
    """A host and a port. An empty host means every interface, port 0 any free port.

    An IPv6 address may have a zone behind a `%`.
    """

    host: str
    port: int


class FdAddress(Spoken, frozen=True):
    """A listening socket that this process inherited, as systemd hands it over."""

    fd: int


class UnixAddress(Spoken, frozen=True):
    """A Unix socket in the file system; None is the usual mode of such a listener, and the usual group."""

    path: str
    mode: int | None = None
    group: str | None = None


Address = TcpAddress | FdAddress | UnixAddress
SCHEMES = {"https://": (True, False), "proxy+https://": (True, True), "proxy+http://": (False, True)}
"""What stands before an address where more than HTTP is spoken: whether TLS is, and the PROXY protocol."""


def parse_address(text: str) -> Address:
    """The address in `HOST:PORT`, `:PORT`, `[IPV6]:PORT`, `fd://N` or `unix:PATH`; ValueError otherwise.

    `?mode=0660&group=www-data` behind the path of a Unix socket, or either of them, says who may connect.
    `https://` before the address is TLS; `proxy+https://` and `proxy+http://` have a PROXY header first.
    """
    bare = bare_address(text)
    if bare != text:
        is_tls, takes_proxy_header = SCHEMES[text.removesuffix(bare)]
        address = _parse(bare, text)
        return msgspec.structs.replace(address, is_tls=is_tls, takes_proxy_header=takes_proxy_header)
    return _parse(text, text)


def bare_address(text: str) -> str:
    """The address without what is spoken there."""
    return next((text.removeprefix(scheme) for scheme in SCHEMES if text.startswith(scheme)), text)


def _parse(text: str, whole: str) -> Address:
    if text.startswith("fd://") and text[5:].isdecimal() and text.isascii():
        return FdAddress(int(text[5:]))
    if text.startswith("unix:") and text[5:].strip("\0"):
        return _unix(text)
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and port.isascii() and int(port) <= HIGHEST_PORT:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host
        if not host or (_is_host(bare) and (":" in bare) is (bare != host)):
            return TcpAddress(bare, int(port))
    before = ", perhaps behind https://" if text == whole else ""
    raise ValueError(f"{whole!r} is not HOST:PORT, :PORT, [IPV6]:PORT, fd://N or unix:PATH{before}")


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
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= HIGHEST_PORT:
        either = f'"127.0.0.1:{value}", or ":{value}" for every interface'
        raise ValueError(f"expected an address in quotes, {either}; got {value}")
    text = msgspec.convert(value, str)
    try:
        parse_address(text)
    except ValueError as exc:
        raise ValueError(f"{exc}{first_right(text, addresses, parse_address)}") from None
    return text


def _of_admin(value: object) -> str:
    text = _checked(value)
    address = parse_address(text)
    if address.takes_proxy_header:
        raise ValueError(f"{text!r}: expected an address without proxy+, such as https://127.0.0.1:9000")
    if address.is_tls and isinstance(address, UnixAddress):
        raise ValueError(f"{text!r}: a Unix socket needs no https://, as nobody else is on the way")
    return text


Listen = Annotated[str, _checked]
"""Text that `parse_address` accepts. Settings keep the text, because messages and the API show it."""
AdminListen = Annotated[str, _of_admin]
"""The same for the operator's side, which takes no PROXY header."""
