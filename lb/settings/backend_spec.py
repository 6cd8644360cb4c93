"""What an operator may say of one backend, with its defaults and rules."""

import re
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,127}")
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
ZONE = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,14}")
"""The name or the number of a network interface: 15 bytes at most on Linux."""
MAX_WEIGHT = 1_000_000
LONGEST_PATH = 107
"""The size of `sun_path` without its end: unix(7)."""
EXPECTED = "http://host:port or unix:/path"


class BackendSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one backend.

    `url` is `http://host[:port]` or `unix:/path`, `weight` its share of the requests (0: it takes none).
    `max_in_flight` and `max_connections` are hard caps or None; a connection carries one request at a time,
    so either caps both. A `backup` takes requests only when no other backend can. `labels` is free text for
    people and tools.
    """

    id: str = ""
    url: str
    weight: int = 1
    max_in_flight: int | None = None
    max_connections: int | None = None
    backup: bool = False
    labels: dict[str, str] = {}

    def checked(self) -> "BackendSpec":
        """This spec with every rule applied and its id filled in; ValueError names the field."""
        host, port = parse_url(self.url)
        spec = self if self.id else msgspec.structs.replace(self, id=default_id(host, port))
        if not ID.fullmatch(spec.id):
            raise ValueError(f"id: {spec.id!r} may hold letters, digits and . _ ~ - only, 128 at most")
        if not 0 <= spec.weight <= MAX_WEIGHT:
            raise ValueError(f"weight: {spec.weight} is not between 0 and {MAX_WEIGHT}")
        for name in ("max_in_flight", "max_connections"):
            cap: int | None = getattr(spec, name)
            if cap is not None and cap < 1:
                raise ValueError(f"{name}: {cap} is not 1 or more")
        return spec


def default_id(host: str, port: int) -> str:
    """The id of a backend that was given none."""
    if not host.startswith("/"):
        return f"{host.replace(':', '_').replace('%', '~')}-{port}"
    name = f"unix{host.replace('/', '~')}"
    # A path whose name is no id, or that could be that of another path, gets a mark of its own.
    return (
        name if "~" not in host and ID.fullmatch(name) else f"unix-{sha256(host.encode()).hexdigest()[:16]}"
    )


def parse_url(url: str) -> tuple[str, int]:
    """The host and port of `http://host[:port]`, or the path and 0 of `unix:/path`.

    An IPv6 address is without brackets; its zone, if there is one, stands behind a `%`. ValueError says what
    is wrong.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"url: {url!r} has characters that an address cannot have")
    if url[:5].lower() == "unix:":
        return _path(url), 0
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"url: {url!r}: {exc}") from None
    if parts.scheme == "https":
        raise ValueError(f"url: {url!r}: TLS to backends is not supported; expected {EXPECTED}")
    if parts.scheme != "http":
        raise ValueError(f"url: {url!r}: expected {EXPECTED}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"url: {url!r}: expected {EXPECTED} and nothing more")
    if host and "%" in host:
        host = _with_zone(host, url)
    elif not host or not HOST.fullmatch(host):
        raise ValueError(f"url: {url!r} names no host")
    if port == 0:
        raise ValueError(f"url: {url!r}: port 0 is not an address to connect to")
    return host, port or 80


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
