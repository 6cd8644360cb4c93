"""What Docker says of its containers, and what follows for a pool. It is pure.

A container belongs to a pool by its label `lb.pool`. `lb.port` says at which port it serves, where it exposes
not exactly one; `lb.network` on which network, where it has an address on several: neither is guessed.
`lb.weight` and `lb.id` are as in the configuration; the id is its name otherwise, so that a container that
was made anew is the same backend.

The fields are those of `GET /containers/json` and `GET /events` of the Engine's API, 1.24 to 1.57. Before
1.52 the health is only in a text for people.
"""

from collections.abc import Collection, Generator
from signal import Signals

import msgspec

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.collected import Collected, usable_id

POOL, PORT, NETWORK, WEIGHT, ID = "lb.pool", "lb.port", "lb.network", "lb.weight", "lb.id"
IN_TEXT = {"(healthy)": "healthy", "(unhealthy)": "unhealthy", "(health: starting)": "starting"}
SERVES = "running"
SHORT = 12
SURE = frozenset((Signals.SIGINT, Signals.SIGQUIT, Signals.SIGKILL, Signals.SIGTERM))
"""Signals after which a container is believed to end, whatever its image says."""
NEWS = frozenset(
    ("start", "restart", "stop", "kill", "die", "oom", "pause", "unpause", "rename", "update", "destroy")
)
"""Events after which the list may be another one; those of its health too. Most others are of `exec`."""


class Network(msgspec.Struct, frozen=True, rename="pascal"):
    """One network that a container is on."""

    ip_address: str = msgspec.field(default="", name="IPAddress")
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")

    @property
    def host(self) -> str:
        """Its address there, as in a URL; empty while it has none."""
        return self.ip_address or (f"[{self.global_ipv6_address}]" if self.global_ipv6_address else "")


class Networks(msgspec.Struct, frozen=True, rename="pascal"):
    networks: dict[str, Network] | None = None


class ExposedPort(msgspec.Struct, frozen=True, rename="pascal"):
    private_port: int
    type: str = "tcp"


class Health(msgspec.Struct, frozen=True, rename="pascal"):
    status: str = ""


class Container(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of the list."""

    id: str
    names: list[str] | None = None
    labels: dict[str, str] | None = None
    state: str = SERVES
    status: str = ""
    ports: list[ExposedPort] | None = None
    network_settings: Networks | None = None
    health: Health | None = None

    @property
    def name(self) -> str:
        """Without its slash; names with two are those of links to it."""
        own = [name[1:] for name in self.names or () if name.count("/") == 1]
        return own[0] if own else self.id[:SHORT]

    @property
    def is_ready(self) -> bool:
        """It runs, and what looks at its health, if anything does, has no objection."""
        health = self.health.status if self.health else ""
        if not health:
            health = next((word for text, word in IN_TEXT.items() if text in self.status), "none")
        return self.state == SERVES and health in ("none", "healthy")


class Actor(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(default="", name="ID")
    attributes: dict[str, str] = {}


class Event(msgspec.Struct, frozen=True, rename="pascal"):
    """One line of the stream."""

    action: str = ""
    actor: Actor = Actor()

    @property
    def is_news(self) -> bool:
        return self.action in NEWS or self.action.startswith("health_status")


class Config(msgspec.Struct, frozen=True, rename="pascal"):
    stop_signal: str = ""


class Inspected(msgspec.Struct, frozen=True, rename="pascal"):
    """What `GET /containers/{id}/json` says, of use here."""

    config: Config = Config()


_list = msgspec.json.Decoder(list[msgspec.Raw])
_container = msgspec.json.Decoder(Container)
event_of = msgspec.json.Decoder(Event).decode
inspected_of = msgspec.json.Decoder(Inspected).decode


def reading(data: bytes, pool: str, leaving: Collection[str]) -> Generator[None, None, Announced]:
    """Read a list, in slices. `leaving` are the ids of containers that were told to end.

    msgspec.DecodeError where it is no such list.
    """
    collected = Collected()
    for raw in _list.decode(data):
        container = _container.decode(raw)
        if (container.labels or {}).get(POOL) == pool:
            _add(container, container.id in leaving, collected)
        yield
    return collected.set()


def _add(container: Container, is_leaving: bool, collected: Collected) -> None:
    labels = container.labels or {}
    try:
        said = Announcement(
            id=labels.get(ID) or usable_id(container.name),
            url=f"http://{_host(container, labels.get(NETWORK))}:{_port(container, labels.get(PORT))}",
            weight=_number(WEIGHT, labels[WEIGHT]) if WEIGHT in labels else None,
            labels={"container": container.id[:SHORT]},
            notice=_notice(container, is_leaving),
        )
    except ValueError as exc:
        collected.skip(f"{container.name}: {exc}")
    else:
        collected.add(said, container.name)


def _notice(container: Container, is_leaving: bool) -> Notice:
    if is_leaving:
        return Notice.LEAVING
    return Notice.HERE if container.is_ready else Notice.NOT_READY


def _host(container: Container, wanted: str | None) -> str:
    settings = container.network_settings
    networks = (settings.networks if settings else None) or {}
    if wanted is not None and wanted not in networks:
        raise ValueError(f"{NETWORK}: it is not on {wanted!r}, but on {_names(networks)}")
    hosts = {name: each.host for name, each in networks.items() if wanted in (None, name) and each.host}
    if not hosts:
        raise ValueError(f"it has no address on {wanted or _names(networks)}")
    if len(hosts) > 1:
        raise ValueError(f"it is on several networks, {_names(hosts)}: its label {NETWORK} has to name one")
    return next(iter(hosts.values()))


def _names(networks: Collection[str]) -> str:
    return ", ".join(sorted(networks)) or "no network"


def _port(container: Container, wanted: str | None) -> int:
    if wanted is not None:
        return _number(PORT, wanted)
    ports = sorted({port.private_port for port in container.ports or () if port.type == "tcp"})
    if len(ports) != 1:
        found = f"several ports, {', '.join(map(str, ports))}" if ports else "no port"
        raise ValueError(f"it exposes {found}: its label {PORT} has to name one")
    return ports[0]


def _number(label: str, text: str) -> int:
    if not _is_number(text):
        raise ValueError(f"{label}: {text!r} is not a number")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < SHORT


def signal_number(text: str) -> int:
    """The number of a signal such as "15", "SIGTERM", "TERM" or "SIGRTMIN+3"; 0 where it is none."""
    name, _, more = text.upper().partition("+")
    name = name if name.startswith("SIG") else f"SIG{name}"
    if _is_number(text):
        return int(text)
    if name not in Signals.__members__ or not _is_number(more or "0"):
        return 0
    return int(Signals[name]) + int(more or "0")
