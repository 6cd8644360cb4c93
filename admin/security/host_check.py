"""Protection against web pages: a browser may have a page that sends requests to this API.

The check of Host keeps out a page whose own name resolves to 127.0.0.1 (DNS rebinding). The checks of Origin
and Sec-Fetch-Site keep out every other page that wants to change something.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from quart import Request

from admin.protocol.problems import Problem


def check_host(request: Request, allowed: Iterable[str]) -> None:
    """421 unless Host is loopback, or one of `allowed`.

    A request without Host can only be HTTP/1.0, which no browser speaks.
    """
    authority = request.headers.get("Host", "")
    host = hostname(authority)
    if authority and not (host and (is_loopback(host) or host in {name.lower() for name in allowed})):
        raise Problem("misdirected", f"Host {authority!r} is not one of ours")


def check_origin(request: Request) -> None:
    """403 for a request that a browser sends on behalf of another site."""
    origin = request.headers.get("Origin")
    foreign = origin is not None and origin_host(origin) != request.headers.get("Host", "").lower()
    if foreign or request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Problem("cross-site", f"Origin {origin!r} is not this server")


def hostname(authority: str) -> str | None:
    """The host in `host[:port]`, lower-case and without brackets; None where there is none."""
    try:
        return urlsplit(f"//{authority}").hostname
    except ValueError:
        return None


def origin_host(origin: str) -> str | None:
    """The `host[:port]` of an origin; None where it has none, as `null` has not."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether this name or address can only mean this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
