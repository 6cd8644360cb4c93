"""The addresses of backends, resolved off the request path.

A literal address is not looked up. A name is resolved when its backend is added, every 30 seconds, and soon
after a connection to it failed. Each name has a task of its own, and at most LOOKUPS of them ask at a time,
so a name that gets no answer delays no other. Until the first answer, requests for its backend wait, within
their connect timeout. A name that stops resolving keeps its last addresses.

Among the addresses of a name the one that took the last connection comes first.

With several workers only the keeper asks. A worker's `Names` are told what it has found, and `ask` it to look
again.
"""

import socket
from collections.abc import Callable, Collection, Generator
from functools import partial
from typing import NamedTuple

import structlog
import trio

from lb.core.backend import Backend
from lb.core.registry import Event, Registry
from lb.errors import NameNotResolved, NameUnanswered
from lb.net.addresses import Address, in_turns, is_name, literal, peer_of, with_port, without_port
from lb.net.connect import OUT_OF_DESCRIPTORS
from lb.slices import sliced

REFRESH_SECONDS = 30.0
SOON_SECONDS = 1.0
"""Shortest pause between two lookups of a name."""
RESOLVE_SECONDS = 10.0
"""Longest wait for one name."""
LOOKUPS = 20
SECOND_LOOKUPS = 10
"""How many lookups may run at a time of names whose last lookup got no answer: a part of LOOKUPS."""
THREADS = 100
"""Threads that lookups may take beside those of others. One that gets no answer keeps its thread for long."""

log = structlog.get_logger()


class Name:
    """What is known of one host name. Only `Names` changes it.

    `addresses` are without a port, and None before the first answer. `why` says how the last lookup failed,
    and is_unanswered that it got no answer at all. `users` are the backends with this name. `used` has the
    address that took the last connection, for each port.
    """

    __slots__ = ("addresses", "host", "is_unanswered", "news", "scope", "used", "users", "wanted", "why")

    def __init__(self, host: str) -> None:
        self.host = host
        self.addresses: list[Address] | None = None
        self.why: str | None = None
        self.is_unanswered = False
        self.users: set[Backend] = set()
        self.used: dict[int, Address] = {}
        self.wanted = trio.Event()
        self.news = trio.Event()
        self.scope = trio.CancelScope()

    def at(self, port: int) -> list[Address] | None:
        """The addresses with this port, the preferred one first."""
        if self.addresses is None:
            return None
        used = self.used.get(port)
        if used is None or used not in self.addresses:
            return [with_port(address, port) for address in self.addresses]
        others = (address for address in self.addresses if address != used)
        return [with_port(address, port) for address in (used, *others)]

    def tell(self) -> None:
        """Wake the requests that wait for an answer."""
        news, self.news = self.news, trio.Event()
        news.set()


class Found(NamedTuple):
    """What is known of one host name: as in `Name`."""

    host: str
    addresses: list[Address] | None
    why: str | None
    is_unanswered: bool


def allowed(_host: str, _port: int, _address: str) -> None:
    """The judgement of one who has no objection to any address."""


class Names:
    """The current addresses of each backend. `run` has one task for each name among their hosts.

    `judge` says why a backend of a host and port may not have an address, or None. It is asked again each
    time, since a name may be given other addresses. Where another process resolves, which `told` says, `ask`
    is called with a host that is to be resolved soon; `run` is not to be called then.
    """

    def __init__(
        self,
        registry: Registry,
        judge: Callable[[str, int, str], str | None] = allowed,
        ask: Callable[[str], None] | None = None,
    ) -> None:
        self._judge = judge
        self._asks = ask
        self._names: dict[str, Name] = {}
        self._hosts: dict[Backend, str] = {}
        self._literal: dict[tuple[str, int], list[Address]] = {}
        self._on_change: list[Callable[[list[Backend]], None]] = []
        self._on_news: list[Callable[[str], None]] = []
        self._slots = trio.CapacityLimiter(LOOKUPS)
        self._second_slots = trio.CapacityLimiter(SECOND_LOOKUPS)
        self._nursery: trio.Nursery | None = None
        for backend in registry.backends.values():
            self._follow(backend)
        registry.subscribe(self._on_event)

    def subscribe(self, on_change: Callable[[list[Backend]], None]) -> None:
        """Call `on_change` with the backends of a name that has lost an address."""
        self._on_change.append(on_change)

    def subscribe_to_news(self, on_news: Callable[[str], None]) -> None:
        """Call `on_news` with a host after each lookup that has shown something new."""
        self._on_news.append(on_news)

    # -- asking ----------------------------------------------------------------------------------------

    def known(self, host: str, port: int) -> list[Address] | None:
        """The addresses in order of preference, not judged; None where the name has not been resolved yet.

        Raises OSError for an address with a zone that this machine does not have.
        """
        if (name := self._names.get(host)) is not None:
            return name.at(port)
        there = self._literal.get((host, port))
        if there is None and (address := literal(host, port)) is not None:
            there = [address]
            if "%" not in host:  # the number of a zone may change
                self._literal[host, port] = there
        return there

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Those of `known` that may be used; waits for the first answer. There is no timeout here: the caller
        sets one.

        Raises NameNotResolved if the last lookup failed and no address is known, or if none may be used;
        NameUnanswered if it got no answer.
        """
        while (there := self.known(host, port)) is None:
            name = self._names.get(host)
            if name is None:
                raise NameUnanswered(f"{host} is no name of a backend any more")
            self._want(name)
            if name.is_unanswered:
                raise NameUnanswered(f"{host} is not resolved yet: {name.why}")
            if name.why is not None:
                raise NameNotResolved(f"{host} has no address: {name.why}")
            await name.news.wait()
        objections = [self._objection(host, port, address) for address in there]
        if all(objections):
            raise NameNotResolved(f"no address that may be used: {next(iter(objections), 'none was found')}")
        return [address for address, why in zip(there, objections, strict=True) if why is None]

    def _objection(self, host: str, port: int, address: Address) -> str | None:
        """Why the backend may not have this address; a path was judged when the backend was added."""
        family, where = address
        return None if family == socket.AF_UNIX else self._judge(host, port, where[0])

    async def answered(self) -> None:
        """Wait until each name that there is now has been looked up once, with whatever result."""
        for name in [*self._names.values()]:
            while name.addresses is None and name.why is None and self._names.get(name.host) is name:
                await name.news.wait()

    async def look_up(self, host: str, port: int) -> list[str]:
        """The addresses of any host now, judged by nobody; none where it cannot be resolved in time."""
        try:
            with trio.fail_after(RESOLVE_SECONDS):
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, trio.TooSlowError):
            return []
        return [str(where[0]) for *_, where in found]

    def has(self, host: str, address: Address | None) -> bool:
        """Whether a connection to this address may still be used for `host`."""
        name = self._names.get(host)
        if name is None:
            return not is_name(host)
        return name.addresses is not None and address is not None and without_port(address) in name.addresses

    def refresh(self, host: str) -> None:
        """Resolve this name soon: a connection to it failed. Does nothing for an address."""
        if (name := self._names.get(host)) is not None:
            self._want(name)

    def _want(self, name: Name) -> None:
        if self._asks is None:
            name.wanted.set()
        else:
            self._asks(name.host)

    def worked(self, host: str, port: int, sock: socket.socket) -> None:
        """This socket was connected to `host`: try its address first from now on."""
        name = self._names.get(host)
        if name is None or name.addresses is None or len(name.addresses) < 2:
            return
        if (address := peer_of(sock)) is not None:
            name.used[port] = without_port(address)

    # -- what another process has found ------------------------------------------------------------------

    @property
    def hosts(self) -> list[str]:
        """The host names of backends."""
        return [*self._names]

    def found(self, host: str) -> "Found":
        """What is known of a host name, for another process."""
        name = self._names.get(host)
        if name is None:
            return Found(host, None, None, False)
        return Found(host, name.addresses, name.why, name.is_unanswered)

    def told(self, found: "Found") -> None:
        """Another process has found this."""
        name = self._names.get(found.host)
        if name is None:
            return
        name.why, name.is_unanswered = found.why, found.is_unanswered
        if found.addresses is not None:
            self._have(name, found.addresses)
        name.tell()

    # -- following the registry --------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if event.kind in ("added", "changed", "removed"):
            self._follow(event.backend)

    def _follow(self, backend: Backend) -> None:
        """Begin and end names as backends come, go and change."""
        before, now = self._hosts.get(backend), None if backend.removed else backend.host
        if before == now:
            return
        self._hosts.pop(backend, None)
        if now is not None and is_name(now):
            self._hosts[backend] = now
            self._begin(now).users.add(backend)
        if before is not None:
            users = self._names[before].users
            users.discard(backend)
            if not users:
                self._end(before)

    def _beginning(self, nursery: trio.Nursery) -> Generator[None, None, None]:
        """Start the tasks of the names that were there before; later ones start with their backend."""
        for name in [*self._names.values()]:
            if self._names.get(name.host) is name:
                nursery.start_soon(self._keep, name)
            yield

    def _begin(self, host: str) -> Name:
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = Name(host)
            if self._nursery is not None:
                self._nursery.start_soon(self._keep, name)
        return name

    def _end(self, host: str) -> None:
        name = self._names.pop(host)
        name.scope.cancel()
        name.tell()

    # -- resolving ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Resolve until cancelled.

        A lookup that fails is logged and told to those who wait; it raises nothing.
        """
        threads = trio.to_thread.current_default_thread_limiter()
        threads.total_tokens += THREADS
        try:
            async with trio.open_nursery() as self._nursery:
                await sliced(self._beginning(self._nursery))
                await trio.sleep_forever()
        finally:
            self._nursery = None
            threads.total_tokens -= THREADS

    async def _keep(self, name: Name) -> None:
        """Resolve one name until it is not used any more."""
        with name.scope:
            while True:
                await self._look_up(name)
                name.wanted = trio.Event()
                with trio.move_on_after(REFRESH_SECONDS) as undisturbed:
                    await name.wanted.wait()
                if not undisturbed.cancelled_caught:
                    await trio.sleep(SOON_SECONDS)

    async def _look_up(self, name: Name) -> None:
        if not name.is_unanswered:
            async with self._slots:
                await self._ask(name)
        else:
            async with self._second_slots, self._slots:
                await self._ask(name)

    async def _ask(self, name: Name) -> None:
        ask = partial(trio.socket.getaddrinfo, name.host, 0, type=socket.SOCK_STREAM)
        try:
            with trio.fail_after(RESOLVE_SECONDS):
                found = await ask()
        except trio.TooSlowError:
            self._failed(name, f"no answer in {RESOLVE_SECONDS:g} s", is_unanswered=True)
        except (OSError, UnicodeError) as exc:
            self._failed(name, str(exc), is_unanswered=_says_nothing(exc))
        else:
            self._found(name, in_turns((socket.AddressFamily(family), at) for family, *_, at in found))
        name.tell()

    def _failed(self, name: Name, why: str, *, is_unanswered: bool) -> None:
        if name.why is None:
            log.warning("name not resolved", host=name.host, why=why)
        if (why, is_unanswered) != (name.why, name.is_unanswered):
            name.why, name.is_unanswered = why, is_unanswered
            self._tell_news(name)

    def _found(self, name: Name, found: Collection[Address]) -> None:
        addresses = [without_port(address) for address in found]
        is_news = set(name.addresses or ()) != set(addresses)
        if is_news:
            log.info("name resolved", host=name.host, addresses=[where[0] for _, where in addresses])
        had_failed, name.why, name.is_unanswered = name.why is not None, None, False
        self._have(name, addresses)
        if is_news or had_failed:
            self._tell_news(name)

    def _have(self, name: Name, addresses: list[Address]) -> None:
        before, name.addresses = set(name.addresses or ()), addresses
        if before - set(addresses):
            for tell in self._on_change:
                tell(list(name.users))

    def _tell_news(self, name: Name) -> None:
        for tell in self._on_news:
            tell(name.host)


def _says_nothing(exc: Exception) -> bool:
    """Whether a lookup failed without an answer: of no server, or for want of descriptors here."""
    if isinstance(exc, socket.gaierror):
        return exc.errno == socket.EAI_AGAIN
    return isinstance(exc, OSError) and exc.errno in OUT_OF_DESCRIPTORS
