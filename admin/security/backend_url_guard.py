"""Addresses that no backend of the API may have; `lb.core.allowed_addresses` says which, and why.

The text of the URL is judged here, and what its host resolves to now. What it resolves to later is judged
whenever that happens.
"""

from collections.abc import Iterable, Mapping

import trio

from admin.security.host_check import is_loopback
from lb.control import Control
from lb.core.allowed_addresses import AddressRule, ip, is_here, tcp
from lb.settings.backend_spec import parse_url

LOOK_UP_SECONDS = 5.0
"""For all names of a request together. A name that takes longer is judged when it is resolved."""
LOOK_UPS = 8
"""At once: they take threads that others need too."""

Resolved = Mapping[tuple[str, int], list[str]]
"""The addresses of each host and port; it is missing where they are not known yet."""


async def look_up(control: Control, urls: Iterable[object]) -> Resolved:
    """What the names in these URLs resolve to. Whatever is no URL, or names an IP address, is left out."""
    found: dict[tuple[str, int], list[str]] = {}
    few = trio.CapacityLimiter(LOOK_UPS)

    async def one(host: str, port: int) -> None:
        async with few:
            found[host, port] = await control.look_up(host, port)

    with trio.move_on_after(LOOK_UP_SECONDS):
        async with trio.open_nursery() as nursery:
            for place in {place for url in urls if (place := _named_place(url)) is not None}:
                nursery.start_soon(one, *place)
    return found


class UrlGuard:
    """Judges URLs of one request; `own` are addresses of ours beside those that `control` knows."""

    def __init__(self, control: Control, own: Iterable[str], resolved: Resolved) -> None:
        self._ours = [*control.listening, control.config.admin.listen, *own]
        self._rule = AddressRule(lambda: control.config, lambda: self._ours)
        self._resolved = resolved

    def objection(self, url: str) -> str | None:
        """Why no backend may have this well-formed URL, or None."""
        host, port = parse_url(url)
        address = ip(host)
        if address is None and _looks_numeric(host):
            return f"{host!r} is a number, but not an IP address"
        if self._rule.is_own_word(host, port):
            return None
        if any(_is_named(host, port, each) for each in self._ours):
            return f"{host}:{port} is this balancer itself"
        addresses = self._resolved.get((host, port), []) if address is None else [str(address)]
        judged = (self._rule.objection(host, port, each) for each in addresses)
        return next(filter(None, judged), None)


def _is_named(host: str, port: int, listening: str) -> bool:
    """Whether the name is that of a listener of ours, or a name that can only mean this machine."""
    ours = tcp(listening)
    if ours is None or ours.port != port:
        return False
    address = ip(ours.host)
    is_ours_here = not ours.host or is_loopback(ours.host) or (address is not None and is_here(address))
    return ours.host.lower() == host.lower() or (is_ours_here and is_loopback(host))


def _named_place(url: object) -> tuple[str, int] | None:
    """The host and port of a URL whose host is a name."""
    try:
        host, port = parse_url(url) if isinstance(url, str) else ("", 0)
    except ValueError:
        return None
    return None if not host or ip(host) is not None or _looks_numeric(host) else (host, port)


def _looks_numeric(host: str) -> bool:
    """Whether the C library reads it as an IPv4 address while `ipaddress` does not: 2852039166, 127.1."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdecimal() or last.startswith("0x")
