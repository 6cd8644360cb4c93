"""Protection against web pages: a browser may have a page that sends requests to this API.

The check of Host keeps out a page whose own name resolves to 127.0.0.1 (DNS rebinding). The checks of Origin
and Sec-Fetch-Site keep out every other page: it could change something, or at least hold connections and the
processor.
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
    """403 for a request that a browser sends on behalf of another site, whatever its method.

    A link to the page itself may stand anywhere.
    """
    headers = request.headers
    origin = headers.get("Origin")
    foreign = origin is not None and origin_host(origin) != headers.get("Host", "").lower()
    if foreign or (headers.get("Sec-Fetch-Site") == "cross-site" and not _is_link_to_page(request)):
        raise Problem("cross-site", f"Origin {origin!r} is not this server" if foreign else None)


def _is_link_to_page(request: Request) -> bool:
    """Whether a browser shows / in a window of its own, and in no frame of another page."""
    headers = request.headers
    is_window = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return is_window and request.method in ("GET", "HEAD") and request.path == "/"


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
