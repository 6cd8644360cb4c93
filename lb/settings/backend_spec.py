"""What an operator may say of one backend, with its defaults and rules."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from lb.settings.meant_values import first_right, urls

ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,127}")
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
ZONE = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,14}")
"""The name or the number of a network interface: 15 bytes at most on Linux."""
MAX_WEIGHT = 1_000_000
LONGEST_PATH = 107
"""The size of `sun_path` without its end: unix(7)."""
PARSED = 32_768
"""URLs whose parts are kept: each is asked for when it is read, judged, added and compared."""
EXPECTED = "http://host:port, https://host:port or unix:/path"
PORTS = {"http": 80, "https": 443}


class SpecError(ValueError):
    """What is wrong with one backend: `mistakes` has each as `field: what is wrong`."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


class BackendSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One backend: in the file, in the API, and in the lists of sources."""

    id: str = ""
    """Its name, unique in all pools; host-port unless set."""
    url: str
    """"http://10.0.0.1:8000", "https://app:443", "http://[fe80::1%25eth0]:8000", "unix:/run/app.sock", or
    a name. A name is resolved off the request path, every 30 s and after a connection failed. Requests go
    to the first of its addresses that takes a connection (the next one is tried after 250 ms) and stay
    there while that works and the name has it; idle connections to an address that the name has lost are
    closed. For requests to all of them make each a backend: [[pools.x.discover]] with `dns`."""
    weight: int = 1
    """Its share of the requests beside the others; 0: none."""
    max_in_flight: int | None = None
    """A hard cap on requests at once; those above it wait in the pool's queue."""
    max_connections: int | None = None
    """The same for connections, idle ones included. A connection carries one request at a time, so either
    caps both."""
    backup: bool = False
    """Takes requests only when no other can."""
    labels: dict[str, str] = {}
    """Free text for people, tools and policies of your own, such as { rack = "a" }."""

    def checked(self) -> "BackendSpec":
        """This spec with every rule applied and its id filled in; SpecError names each field."""
        if mistakes := [*self._mistakes()]:
            raise SpecError(mistakes)
        return self if self.id else msgspec.structs.replace(self, id=default_id(*parse_url(self.url)))

    def _mistakes(self) -> Iterator[str]:
        name = self.id
        try:
            place = parse_url(self.url)
            name = name or default_id(*place)
        except ValueError as exc:
            yield str(exc)
        if name and not ID.fullmatch(name):
            yield f"id: {name!r} may hold letters, digits and . _ ~ - only, 128 at most"
        if not 0 <= self.weight <= MAX_WEIGHT:
            yield f"weight: {self.weight} is not between 0 and {MAX_WEIGHT}"
        for name in ("max_in_flight", "max_connections"):
            cap: int | None = getattr(self, name)
            if cap is not None and cap < 1:
                yield f"{name}: {cap} is not 1 or more"


def default_id(host: str, port: int) -> str:
    """The id of a backend that was given none."""
    if not host.startswith("/"):
        return f"{host.replace(':', '_').replace('%', '~')}-{port}"
    name = f"unix{host.replace('/', '~')}"
    # A path whose name is no id, or that could be that of another path, gets a mark of its own.
    return (
        name if "~" not in host and ID.fullmatch(name) else f"unix-{sha256(host.encode()).hexdigest()[:16]}"
    )


@lru_cache(PARSED)
def parse_url(url: str) -> tuple[str, int]:
    """The host and port of `http://host[:port]` or `https://host[:port]`, or the path and 0 of `unix:/path`.

    An IPv6 address is without brackets; its zone, if there is one, stands behind a `%`. ValueError says what
    is wrong, and what was probably meant.
    """
    try:
        return _parsed(url)
    except ValueError as exc:
        raise ValueError(f"{exc}{first_right(url, urls, _parsed)}") from None


def _parsed(url: str) -> tuple[str, int]:
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"url: {url!r} has characters that an address cannot have")
    if url[:5].lower() == "unix:":
        return _path(url), 0
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"url: {url!r}: {exc}") from None
    if parts.scheme not in PORTS:
        raise ValueError(f"url: {url!r}: expected {EXPECTED}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"url: {url!r}: expected {EXPECTED} and nothing more")
    if host and "%" in host:
        host = _with_zone(host, url)
    elif not host or not HOST.fullmatch(host):
        raise ValueError(f"url: {url!r} names no host")
    if port == 0:
        raise ValueError(f"url: {url!r}: port 0 is not an address to connect to")
    return host, port or PORTS[parts.scheme]


def is_tls(url: str) -> bool:
    """Whether TLS is spoken with the backend of this URL."""
    return url[:6].lower() == "https:"


def _path(url: str) -> str:
    path = url[5:]
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"url: {url!r}: expected the whole path of a socket, such as unix:/run/app.sock")
    if path.endswith("/") or "?" in path or "#" in path:
        raise ValueError(f"url: {url!r}: expected unix: and the path of a socket, and nothing more")
    if len(path) > LONGEST_PATH:
        raise ValueError(f"url: {url!r}: the path of a socket has at most {LONGEST_PATH} bytes")
    return path


def _with_zone(host: str, url: str) -> str:
    """The host, with its zone behind a bare `%`; RFC 6874 wants `%25` in a URL."""
    address, _, zone = host.partition("%")
    zone = zone.removeprefix("25")
    if ":" not in address or not HOST.fullmatch(address) or not ZONE.fullmatch(zone):
        raise ValueError(f"url: {url!r}: {zone!r} is not the zone of an IPv6 address, as in [fe80::1%25eth0]")
    return f"{address}%{zone}"
