"""What records of DNS say of backends: a whole set, in an order that does not depend on that of the answer.

Each address is a backend of its own. An id is that of the address and the port where a name has addresses; of
the target and the port where SRV records name it, so that it outlives a change of address. Of a target with
several addresses the lowest has this id, and the others have their address behind it: so all balancers that
ask the same have the same ids.

All of it is pure, and in slices.
"""

from collections.abc import Collection, Generator, Iterable
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Protocol

from lb.core.announced import Announcement
from lb.discovery.dns_message import Record, Service, text_of
from lb.settings.backend_spec import ID, default_id
from lb.settings.dns_url import DnsUrl

MOST_BACKENDS = 10_000
MOST_SKIPPED = 100
"""So many entries that are of no use are told one by one."""
ROOT = b"\0"
"""The target of a service that is said not to exist (RFC 2782)."""
BROADCAST = IPv4Address("255.255.255.255")


class FoundSet(NamedTuple):
    """As in `Announced`."""

    backends: tuple[Announcement, ...]
    skipped: tuple[str, ...]


Work = Generator[None, None, FoundSet]


class Resolved(Protocol):
    """What is known of the targets of SRV records."""

    def addresses(self, target: bytes) -> Collection[bytes]: ...

    def trouble(self, target: bytes) -> str | None: ...


class Gathered:
    """The set while it is made. The first one with an id has it; what is over the `most` is counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._backends: dict[str, Announcement] = {}
        self._skipped: list[str] = []
        self._untold = 0
        self._over = 0

    def add(self, backend: Announcement) -> None:
        if (first := self._backends.get(backend.id)) is not None:
            if first != backend:
                self.skip(f"{backend.id} is named twice")
        elif len(self._backends) == self._most:
            self._over += 1
        else:
            self._backends[backend.id] = backend

    def skip(self, why: str) -> None:
        if len(self._skipped) < MOST_SKIPPED:
            self._skipped.append(why)
        else:
            self._untold += 1

    def whole(self) -> FoundSet:
        skipped = [*self._skipped]
        if self._untold:
            skipped.append(f"{self._untold} more entries are of no use")
        if self._over:
            skipped.append(f"{self._over} entries are left out: {self._most} are the most")
        return FoundSet(tuple(self._backends.values()), tuple(skipped))


def of_addresses(url: DnsUrl, addresses: Iterable[bytes], most: int = MOST_BACKENDS) -> Work:
    """The backends at these addresses."""
    gathered, port = Gathered(most), url.port or 0
    for address in map(_read, _in_order(addresses)):
        if (why := _unusable(address)) is not None:
            gathered.skip(f"{address}: {why}")
        else:
            id_ = default_id(str(address), port)
            gathered.add(Announcement(id=id_, url=_url(url.scheme, address, port)))
        yield
    return gathered.whole()


def of_services(
    url: DnsUrl,
    records: Iterable[Record],
    targets: Resolved,
    *,
    weights: bool = True,
    most: int = MOST_BACKENDS,
) -> Work:
    """The backends that these SRV records name: those of the lowest priority, and the others as backups."""
    there = sorted({(record.service, record.data) for record in records if record.service}, key=_rank)
    naming = Naming(url, targets, {service.priority for service, target in there if target != ROOT}, weights)
    gathered = Gathered(most)
    if url.port is not None and there:
        gathered.skip(f"the port of the URL, {url.port}, is used, and not those of the records")
    for service, target in there:
        if (why := _no_service(service, target)) is not None:
            gathered.skip(why)
        else:
            yield from naming.add(service, target, gathered)
        yield
    return gathered.whole()


class Naming:
    """What the services of one answer have in common: how each becomes backends.

    A priority is said of them where there are several: lone ones are what the pool says of its source.
    """

    def __init__(self, url: DnsUrl, targets: Resolved, priorities: set[int], weights: bool) -> None:
        self._url = url
        self._targets = targets
        self._lowest = min(priorities, default=0)
        self._has_priorities = len(priorities) > 1
        self._weights = weights

    def add(self, service: Service, target: bytes, gathered: Gathered) -> Generator[None, None, None]:
        host, port, has_any = text_of(target), self._url.port or service.port, False
        for address in map(_read, _in_order(self._targets.addresses(target))):
            if (why := _unusable(address)) is not None:
                gathered.skip(f"{host}: {address}: {why}")
            else:
                id_ = _id(host, port, address if has_any else None)
                gathered.add(self._announced(service, id_, _url(self._url.scheme, address, port)))
                has_any = True
            yield
        if (trouble := self._targets.trouble(target)) is not None:
            gathered.skip(f"{trouble}; {'its last addresses are kept' if has_any else 'it has none yet'}")
        elif not has_any:
            gathered.skip(f"{host} has no address that can be used")

    def _announced(self, service: Service, id_: str, url: str) -> Announcement:
        # A weight of 0 is next to nothing in RFC 2782, and with us a backend that takes no request.
        weight = max(service.weight, 1) if self._weights else None
        backup = service.priority > self._lowest if self._has_priorities else None
        return Announcement(id=id_, url=url, weight=weight, backup=backup)


def _rank(each: tuple[Service, bytes]) -> tuple[int, bytes, Service]:
    service, target = each
    return service.priority, target, service


def _no_service(service: Service, target: bytes) -> str | None:
    """Why a record names no backend."""
    if target == ROOT:
        return "a record says that there is no such service here: its target is `.`"
    return f"{text_of(target)}: port 0 is not an address to connect to" if service.port == 0 else None


def _in_order(addresses: Iterable[bytes]) -> list[bytes]:
    """Each of them once, IPv4 before IPv6."""
    return sorted({*addresses}, key=lambda packed: (len(packed), packed))


def _read(packed: bytes) -> IPv4Address | IPv6Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _unusable(address: IPv4Address | IPv6Address) -> str | None:
    """Why no server can have this address; 0.0.0.0, which filters answer, would be this very machine."""
    if address.is_unspecified or address.is_multicast or address == BROADCAST:
        return "not an address of a server"
    if isinstance(address, IPv6Address) and address.is_link_local:
        return "an address that holds on one network only, and DNS does not say on which"
    return None


def _url(scheme: str, address: IPv4Address | IPv6Address, port: int) -> str:
    host = f"[{address}]" if isinstance(address, IPv6Address) else address
    return f"{scheme}://{host}:{port}"


def _id(target: str, port: int, address: IPv4Address | IPv6Address | None) -> str:
    """The id of a target; one that no id can be made of gets a mark of its own."""
    name = f"{target}-{port}" if address is None else f"{target}-{port}-{address}".replace(":", "_")
    return name if ID.fullmatch(name) else f"srv-{sha256(name.encode()).hexdigest()[:16]}"
