"""The addresses of backends, resolved off the request path.

A literal address is not looked up. A name is resolved when its backend is added, every 30 seconds, and soon
after a connection to it failed. Until the first answer, requests for that backend wait, within their connect
timeout. A name that stops resolving keeps its last addresses.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import structlog
import trio

from lb.core.registry import Event, Registry
from lb.errors import NameNotResolved

REFRESH_SECONDS = 30.0
SOON_SECONDS = 1.0
"""Shortest pause between two rounds, except for a name that has never been resolved: that one is at once."""
RESOLVE_SECONDS = 10.0
"""Longest wait for one name."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
log = structlog.get_logger()


def literal(host: str, port: int) -> Address | None:
    """The address, where `host` is an IP address; None where it is a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return (socket.AF_INET, (host, port)) if version == 4 else (socket.AF_INET6, (host, port, 0, 0))


def allowed(_host: str, _port: int, _address: str) -> None:
    """The judgement of one who has no objection to any address."""


class Names:
    """The current addresses of each backend's host and port. `run` is the one task that resolves names.

    `judge` says why a backend of a host and port may not have an address, or None.
    """

    def __init__(self, registry: Registry, judge: Callable[[str, int, str], str | None] = allowed) -> None:
        self._registry = registry
        self._judge = judge
        self._known: dict[tuple[str, int], list[Address]] = {}
        self._failing: dict[tuple[str, int], str] = {}
        self._news = trio.Event()
        self._wanted = trio.Event()
        registry.subscribe(self._on_event)

    def known(self, host: str, port: int) -> list[Address] | None:
        """The addresses in order of preference; None where the name has not been resolved yet."""
        there = self._known.get((host, port))
        if there is None and (address := literal(host, port)) is not None:
            self._learn(host, port, [address])
            there = self._known.get((host, port))
        return there

    async def addresses(self, host: str, port: int) -> list[Address]:
        """As `known`, but wait for the first answer. There is no timeout here: the caller sets one.

        Raises NameNotResolved if the last lookup failed and no address is known.
        """
        while (there := self.known(host, port)) is None:
            if (why := self._failing.get((host, port))) is not None:
                self.refresh()
                raise NameNotResolved(f"{host} has no address: {why}")
            self.refresh()
            await self._news.wait()
        return there

    def refresh(self) -> None:
        """Resolve all names soon: a connection failed, or there is a new name.

        May be called from any task.
        """
        self._wanted.set()

    def _on_event(self, event: Event) -> None:
        if event.kind in ("added", "changed"):
            self.refresh()

    async def run(self) -> None:
        """Resolve until cancelled.

        A lookup that fails is logged and told to those who wait; it raises nothing.
        """
        while True:
            self._wanted = trio.Event()
            for host, port in self._places():
                if (address := literal(host, port)) is None:
                    await self._resolve(host, port)
                else:
                    self._learn(host, port, [address])
            self._forget_the_gone()
            with trio.move_on_after(REFRESH_SECONDS) as undisturbed:
                await self._wanted.wait()
            if not undisturbed.cancelled_caught and not self._has_new():
                await trio.sleep(SOON_SECONDS)

    def _places(self) -> set[tuple[str, int]]:
        return {(b.host, b.port) for b in self._registry.backends.values()}

    def _has_new(self) -> bool:
        return any(self.known(*place) is None and place not in self._failing for place in self._places())

    async def _resolve(self, host: str, port: int) -> None:
        try:
            with trio.fail_after(RESOLVE_SECONDS):
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, trio.TooSlowError) as exc:
            self._failed(host, port, str(exc) or "no answer in time")
        else:
            self._learn(host, port, [(socket.AddressFamily(family), where) for family, *_, where in found])
        news, self._news = self._news, trio.Event()
        news.set()

    def _learn(self, host: str, port: int, found: list[Address]) -> None:
        """Note the addresses that the backend may have. If it may have none of them, it has no address."""
        objections = [self._judge(host, port, where[0]) for _, where in found]
        addresses = [each for each, why in zip(found, objections, strict=True) if why is None]
        if not addresses:
            self._known.pop((host, port), None)
            self._failed(host, port, next(filter(None, objections), "none was found"))
            return
        if self._known.get((host, port)) != addresses and literal(host, port) is None:
            log.info("name resolved", host=host, addresses=[where[0] for _, where in addresses])
        self._known[host, port] = addresses
        self._failing.pop((host, port), None)

    async def look_up(self, host: str, port: int) -> list[str]:
        """The addresses of any host now, judged by nobody; none where it cannot be resolved in time."""
        try:
            with trio.fail_after(RESOLVE_SECONDS):
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, trio.TooSlowError):
            return []
        return [str(where[0]) for *_, where in found]

    def _failed(self, host: str, port: int, why: str) -> None:
        if (host, port) not in self._failing:
            log.warning("name not resolved", host=host, why=why)
        self._failing[host, port] = why

    def _forget_the_gone(self) -> None:
        for place in {*self._known, *self._failing} - self._places():
            self._known.pop(place, None)
            self._failing.pop(place, None)
