"""EndpointSlices of Kubernetes (`discovery.k8s.io/v1`), and what follows for a pool. It is pure.

A Service has as many slices as its endpoints need, and one endpoint may be in two of them while it moves, so
they are joined. One pod counts once: by its IPv4 address where it has several, and as the slice says that has
changed last. Of different pods with one address the one that is ready counts.

Conditions that are not said mean ready, serving, and not terminating. One that terminates and still serves is
leaving, so its drain runs while it may still answer.
"""

from collections.abc import Generator, Iterable
from typing import NamedTuple

import msgspec

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.collected import Collected, usable_id
from lb.settings.backend_spec import default_id

DIGITS = 20
"""A number with as many is none."""
FAMILIES = ("IPv4", "IPv6")
RANK = {Notice.HERE: 2, Notice.LEAVING: 1, Notice.NOT_READY: 0}


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """That of a slice, or of a list of them, whose `going_on` asks for its next page."""

    name: str = ""
    resource_version: str = ""
    going_on: str = msgspec.field(default="", name="continue")


class Conditions(msgspec.Struct, frozen=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None

    @property
    def notice(self) -> Notice:
        if self.terminating:
            serving = self.serving if self.serving is not None else self.ready is not False
            return Notice.LEAVING if serving else Notice.NOT_READY
        return Notice.NOT_READY if self.ready is False else Notice.HERE


class Reference(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""


class Endpoint(msgspec.Struct, frozen=True, rename="camel"):
    addresses: list[str] = []
    conditions: Conditions = Conditions()
    target_ref: Reference | None = None
    node_name: str | None = None
    zone: str | None = None


class Port(msgspec.Struct, frozen=True):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class EndpointSlice(msgspec.Struct, frozen=True, rename="camel"):
    """Endpoints of one Service that have the same ports and the same kind of address."""

    metadata: Metadata
    address_type: str = FAMILIES[0]
    endpoints: list[Endpoint] | None = None
    ports: list[Port] | None = None

    @property
    def age(self) -> int:
        """One with a higher number has changed later. It is what etcd counts, though not promised of old."""
        version = self.metadata.resource_version
        return int(version) if version.isascii() and version.isdecimal() and len(version) < DIGITS else 0


class SliceList(msgspec.Struct, frozen=True):
    """One page of the list."""

    metadata: Metadata
    items: list[msgspec.Raw]


class Status(msgspec.Struct, frozen=True):
    """What stands in the place of an object when something is wrong."""

    code: int = 0
    reason: str = ""
    message: str = ""


class Change(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


page_of = msgspec.json.Decoder(SliceList).decode
slice_of = msgspec.json.Decoder(EndpointSlice).decode
change_of = msgspec.json.Decoder(Change).decode
status_of = msgspec.json.Decoder(Status).decode


class _Candidate(NamedTuple):
    """One endpoint as one slice has it. `order` says which of two counts: rank, family, age, and its id."""

    said: Announcement
    order: tuple[int, int, int, str]


def joining(slices: Iterable[EndpointSlice], port: str) -> Generator[None, None, Announced]:
    """Join the slices of a Service, in slices of time. `port` is a name, a number, or "" for the only one."""
    collected = Collected()
    by_pod: dict[str, _Candidate] = {}
    for each in slices:
        number = _port(each, port, collected)
        for endpoint in each.endpoints or () if number else ():
            _put(by_pod, _pod(endpoint), _candidate(each, endpoint, number))
            yield
    by_address: dict[str, _Candidate] = {}
    for candidate in by_pod.values():
        ranked = candidate._replace(order=(RANK[candidate.said.notice], *candidate.order[1:]))
        _put(by_address, candidate.said.url, ranked)
        yield
    for candidate in sorted(by_address.values(), key=lambda each: (each.said.id, -RANK[each.said.notice])):
        collected.add(candidate.said)
        yield
    return collected.set()


def _put(found: dict[str, _Candidate], key: str, candidate: _Candidate) -> None:
    if key not in found or found[key].order < candidate.order:
        found[key] = candidate


def _port(each: EndpointSlice, wanted: str, collected: Collected) -> int:
    """At which port of this slice the pool is served; 0 where that cannot be said."""
    if each.address_type not in FAMILIES:
        collected.skip(f"{each.metadata.name}: addresses of the type {each.address_type} are of no use")
        return 0
    if wanted.isdecimal():
        return int(wanted)
    ports = [port for port in each.ports or () if port.port and (port.protocol or "TCP") == "TCP"]
    found = [port for port in ports if not wanted or port.name == wanted]
    if len(found) == 1:
        return found[0].port or 0
    names = ", ".join(port.name or str(port.port) for port in ports) or "none"
    why = f"it has no port {wanted!r}" if wanted else "one of its ports has to be named"
    collected.skip(f"{each.metadata.name}: {why}; its ports: {names}")
    return 0


def _pod(endpoint: Endpoint) -> str:
    """What tells endpoints apart: the pod, or the address where nothing is said of a pod."""
    ref = endpoint.target_ref
    return (ref and (ref.uid or ref.name)) or next(iter(endpoint.addresses), "")


def _candidate(each: EndpointSlice, endpoint: Endpoint, port: int) -> _Candidate:
    address = next(iter(endpoint.addresses), "")
    host = f"[{address}]" if ":" in address else address
    ref = endpoint.target_ref
    labels = {"node": endpoint.node_name, "zone": endpoint.zone}
    said = Announcement(
        id=usable_id(ref.name) if ref and ref.name else default_id(address, port),
        url=f"http://{host}:{port}",
        labels={name: value for name, value in labels.items() if value},
        notice=endpoint.conditions.notice,
    )
    return _Candidate(said, (0, -FAMILIES.index(each.address_type), each.age, said.id))
