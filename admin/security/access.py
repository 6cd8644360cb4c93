"""Who may come in: by the right name, not from a foreign page, and with the token if there is one.

A web page can make a browser send requests here. The Host check keeps out a page whose own name points at
127.0.0.1; the checks of Origin and Sec-Fetch-Site keep out every other page that wants to change something.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from quart import Request

from admin.protocol.problems import Problem
from admin.security.keyring import ANYBODY, Keyring
from lb.config.tokens import Token


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


async def bearer(request: Request, keyring: Keyring) -> Token | None:
    """Whose token the request bears, None where it is nobody's; the time that it takes says nothing."""
    if not keyring.is_needed:
        return ANYBODY
    await keyring.refresh()
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = keyring.find(given.strip())
    return token if scheme.lower() == "bearer" else None


def peer(request: Request) -> str:
    """The address that the request came from."""
    client: Any = request.scope.get("client")
    if client is None or not client[0]:
        return "unix"
    host, port = client[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unauthorized() -> Problem:
    """401, and how to do better, which only the client needs: the audit has the title."""
    problem = Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="lb"'})
    problem.detail = "send it as `Authorization: Bearer TOKEN`"
    return problem


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
