"""Who may come in: by the right name, not from a foreign page, and with the token if there is one.

A web page can make a browser send requests here. The Host check keeps out a page whose own name points at
127.0.0.1; the checks of Origin and Sec-Fetch-Site keep out every other page that wants to change something.
"""

import hmac
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from quart import Request

from admin.problems import Problem


def check_host(request: Request, allowed: Iterable[str]) -> None:
    """421 unless Host is loopback, the address that was connected to, or one of `allowed`.

    A request without Host can only be HTTP/1.0, which no browser speaks.
    """
    authority = request.headers.get("Host", "")
    host = hostname(authority)
    if authority and not (host and (is_loopback(host) or host in {name.lower() for name in allowed})):
        raise Problem("misdirected", f"Host {authority!r} is not one of ours")


def check_origin(request: Request) -> None:
    """403 for a request that a browser sends on behalf of another site."""
    origin = request.headers.get("Origin")
    foreign = origin is not None and urlsplit_netloc(origin) != request.headers.get("Host", "").lower()
    if foreign or request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Problem("cross-site", f"Origin {origin!r} is not this server")


def check_token(request: Request, token: str) -> None:
    """401 unless the request bears the token; the time that it takes says nothing about the token."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        raise Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="lb"'})


def hostname(authority: str) -> str | None:
    """The host in `host[:port]`, lower-case and without brackets; None where it is none."""
    try:
        return urlsplit(f"//{authority}").hostname
    except ValueError:
        return None


def urlsplit_netloc(origin: str) -> str | None:
    """The `host[:port]` of an origin; None where it is none (`null` is one of those)."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """It can only mean this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
