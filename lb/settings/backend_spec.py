"""What an operator may say of one backend, with its defaults and rules."""

import re
from urllib.parse import urlsplit

import msgspec

ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,127}")
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
MAX_WEIGHT = 1_000_000


class BackendSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one backend.

    `url` is `http://host[:port]`, `weight` its share of the requests (0: it takes none). `max_in_flight` and
    `max_connections` are hard caps or None; a connection carries one request at a time, so either caps both.
    A `backup` takes requests only when no other backend can. `labels` is free text for people and tools.
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
    return f"{host.replace(':', '_')}-{port}"


def parse_url(url: str) -> tuple[str, int]:
    """The host (IPv6 without brackets) and port of `http://host[:port]`; ValueError says what is wrong."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"url: {url!r} has characters that an address cannot have")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"url: {url!r}: {exc}") from None
    if parts.scheme == "https":
        raise ValueError(f"url: {url!r}: TLS to backends is not supported; expected http://host:port")
    if parts.scheme != "http":
        raise ValueError(f"url: {url!r}: expected http://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"url: {url!r}: expected http://host:port and nothing more")
    if not host or not HOST.fullmatch(host):
        raise ValueError(f"url: {url!r} names no host")
    if port == 0:
        raise ValueError(f"url: {url!r}: port 0 is not an address to connect to")
    return host, port or 80
