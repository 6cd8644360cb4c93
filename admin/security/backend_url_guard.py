"""Addresses that no backend of the API may have; `lb.core.allowed_addresses` says which, and why.

The text of the URL is judged here, and what its host resolves to now. What it resolves to later is judged
whenever that happens.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from ipaddress import ip_address

import trio

from admin.security.backend_socket_guard import objections_to_sockets
from admin.security.host_check import is_loopback
from lb.control import Control
from lb.core.allowed_addresses import IP, AddressRule, ip, is_here, tcp
from lb.settings.backend_spec import parse_url
from lb.slices import sliced

LOOK_UP_SECONDS = 5.0
"""For all names of a request together. A name that takes longer is judged when it is resolved."""
LOOK_UPS = 8
"""At once: they take threads that others need too."""

Place = tuple[str, int]


async def objections(control: Control, own: Iterable[str], urls: Iterable[object]) -> Mapping[str, str]:
    """Why no backend may have the URL, for each of these that none may have.

    `own` are addresses of ours that `control` does not know. What is no URL is left out: its reader says so.
    """
    places, addresses = await sliced(_reading(urls))
    names, sockets = await sliced(_sorting(addresses))
    resolved = await _look_up(control, names)
    ours = [*control.listening, control.config.admin.listen, *own]
    refused = await trio.to_thread.run_sync(objections_to_sockets, sockets, ours) if sockets else {}
    return await sliced(_judging(_Guard(control, ours, resolved, refused), places, addresses))


def _reading(
    urls: Iterable[object],
) -> Generator[None, None, tuple[Mapping[str, Place], Mapping[Place, IP | None]]]:
    """The place of each URL, and what the host of each place is."""
    places: dict[str, Place] = {}
    addresses: dict[Place, IP | None] = {}
    for url in urls:
        if isinstance(url, str) and (place := _place(url)) is not None:
            places[url] = place
            addresses[place] = ip(place[0])
        yield
    return places, addresses


def _sorting(addresses: Mapping[Place, IP | None]) -> Generator[None, None, tuple[list[Place], list[str]]]:
    """The places that are to be looked up, and the paths of sockets."""
    names, sockets = [], []
    for place, address in addresses.items():
        host, _ = place
        if host.startswith("/"):
            sockets.append(host)
        elif address is None and not _looks_numeric(host):
            names.append(place)
        yield
    return names, sockets


def _judging(
    guard: "_Guard", places: Mapping[str, Place], addresses: Mapping[Place, IP | None]
) -> Generator[None, None, Mapping[str, str]]:
    found: dict[str, str] = {}
    for url, place in places.items():
        if (why := guard.objection(place, addresses[place])) is not None:
            found[url] = why
        yield
    return found


async def _look_up(control: Control, names: Iterable[Place]) -> Mapping[Place, list[IP]]:
    """What each host resolves to; it is missing where that is not known in time."""
    found: dict[Place, list[IP]] = {}
    left = iter(names)

    async def one_by_one() -> None:
        for host, port in left:
            found[host, port] = [ip_address(text) for text in await control.look_up(host, port)]

    with trio.move_on_after(LOOK_UP_SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(LOOK_UPS):
                nursery.start_soon(one_by_one)
    return found


class _Guard:
    """Judges the URLs of one request."""

    def __init__(
        self,
        control: Control,
        ours: Sequence[str],
        resolved: Mapping[Place, list[IP]],
        refused: Mapping[str, str],
    ) -> None:
        self._ours = ours
        self._is_own_word = control.is_own_word
        self._rule = AddressRule(lambda: control.config, lambda: self._ours)
        self._resolved = resolved
        self._refused = refused

    def objection(self, place: Place, address: IP | None) -> str | None:
        """Why no backend may be there, or None; `address` is what its host is, None for a name."""
        host, port = place
        if self._is_own_word(host, port):
            return None
        if host.startswith("/"):
            return self._refused.get(host) or self._rule.judged_socket(host)
        if address is None and _looks_numeric(host):
            return f"{host!r} is a number, but not an IP address"
        if any(_is_named(host, port, each) for each in self._ours):
            return f"{host}:{port} is this balancer itself"
        addresses = self._resolved.get(place, []) if address is None else [address]
        return next(filter(None, (self._rule.judged(host, port, each) for each in addresses)), None)


def _is_named(host: str, port: int, listening: str) -> bool:
    """Whether the name is that of a listener of ours, or a name that can only mean this machine."""
    ours = tcp(listening)
    if ours is None or ours.port != port:
        return False
    address = ip(ours.host)
    is_ours_here = not ours.host or is_loopback(ours.host) or (address is not None and is_here(address))
    return ours.host.lower() == host.lower() or (is_ours_here and is_loopback(host))


def _place(url: str) -> Place | None:
    """The host and port of a URL; None for any other text."""
    try:
        return parse_url(url)
    except ValueError:
        return None


def _looks_numeric(host: str) -> bool:
    """Whether the C library reads it as an IPv4 address while `ipaddress` does not: 2852039166, 127.1."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdecimal() or last.startswith("0x")
