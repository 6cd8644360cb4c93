"""One backend: what the operator said of it, and what is running on it now.

The operator's wish (ready, draining, maintenance) and what the backend can take (its cap) are separate
facts; *available* is derived from both and never stored.
"""

import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import msgspec

from lb.core.histogram import Histogram

if TYPE_CHECKING:
    from lb.core.drain import Drain
    from lb.errors import Reason

ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,127}")
MAX_WEIGHT = 1_000_000
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")


class AdminState(StrEnum):
    """What the operator wishes."""

    READY = "ready"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


class BackendSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the operator says of a backend: the same in the file, in the API and in the state file.

    `url` is `http://host[:port]`, `weight` a share of the requests (0 takes none), `max_in_flight` a hard
    cap or None, `labels` free text for people and tools. `checked` makes one with every rule applied.
    """

    id: str = ""
    url: str
    weight: int = 1
    max_in_flight: int | None = None
    labels: dict[str, str] = {}

    def checked(self) -> "BackendSpec":
        """This spec with its id filled in; ValueError, naming the field, where a rule is broken."""
        host, port = parse_url(self.url)
        spec = self if self.id else msgspec.structs.replace(self, id=default_id(host, port))
        if not ID.fullmatch(spec.id):
            raise ValueError(f"id: {spec.id!r} may hold letters, digits and . _ ~ - only, 128 at most")
        if not 0 <= spec.weight <= MAX_WEIGHT:
            raise ValueError(f"weight: {spec.weight} is not between 0 and {MAX_WEIGHT}")
        if spec.max_in_flight is not None and spec.max_in_flight < 1:
            raise ValueError(f"max_in_flight: {spec.max_in_flight} is not 1 or more")
        return spec


def default_id(host: str, port: int) -> str:
    return f"{host.replace(':', '_')}-{port}"


def parse_url(url: str) -> tuple[str, int]:
    """The host (IPv6 without brackets) and port of `http://host[:port]`; ValueError says what is wrong."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"url: {url!r} has characters that an address cannot have")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"url: {url!r}: {exc}") from None
    if parts.scheme == "https":
        raise ValueError(f"url: {url!r}: TLS to backends is not supported; expected http://host:port")
    if parts.scheme != "http":
        raise ValueError(f"url: {url!r}: expected http://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"url: {url!r}: expected http://host:port and nothing more")
    if not host or not HOST.fullmatch(host):
        raise ValueError(f"url: {url!r} names no host")
    if port == 0:
        raise ValueError(f"url: {url!r}: port 0 is not an address to connect to")
    return host, port or 80


class Running(Protocol):
    """Somebody who uses a backend now, and can be told to stop."""

    def cut(self) -> None:
        """End soon; the backend is given back later, never within this call."""
        ...


class Backend:
    """One backend while it is in the registry. Only the registry and its pool change it.

    The counters are plain ints so that counting costs nothing; /metrics and the API read them when asked.
    """

    __slots__ = (
        "_admin_state",
        "cap",
        "codes",
        "connections",
        "connections_opened",
        "connections_reused",
        "drain",
        "failures",
        "host",
        "idle_connections",
        "is_open",
        "pool",
        "port",
        "removed",
        "response_start",
        "revision",
        "running",
        "since",
        "source",
        "spec",
        "turn",
    )

    def __init__(self, spec: BackendSpec, pool: str, source: str, now: float) -> None:
        self._admin_state = AdminState.READY
        self.respec(spec)
        self.pool = pool
        self.source = source
        self.since = now
        self.revision = 0
        self.drain: Drain | None = None
        self.removed = False
        self.turn = 0
        self.running: set[Running] = set()
        self.connections = 0
        self.connections_opened = 0
        self.connections_reused = 0
        self.idle_connections = 0
        self.codes: Counter[int] = Counter()
        self.failures: Counter[Reason] = Counter()
        self.response_start = Histogram()

    def respec(self, spec: BackendSpec) -> None:
        """Take on other settings; what runs keeps the connection that it has."""
        self.host, self.port = parse_url(spec.url)
        self.spec = spec
        self.cap = spec.max_in_flight
        self._derive()

    def _derive(self) -> None:
        """`is_open`: may it have requests at all? Its cap aside, which is looked at for each."""
        self.is_open = self._admin_state is AdminState.READY and self.spec.weight > 0

    @property
    def admin_state(self) -> AdminState:
        return self._admin_state

    @admin_state.setter
    def admin_state(self, state: AdminState) -> None:
        self._admin_state = state
        self._derive()

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def in_flight(self) -> int:
        return len(self.running)

    @property
    def is_full(self) -> bool:
        return self.cap is not None and len(self.running) >= self.cap

    @property
    def is_worth_waiting_for(self) -> bool:
        """Only its cap keeps it from taking a request."""
        return self.is_full and self.is_open

    def why_not(self) -> str | None:
        """Why it takes no request now, in words, or None when it is available."""
        if self.admin_state is not AdminState.READY:
            return self.admin_state.value
        if self.spec.weight == 0:
            return "weight 0"
        if self.is_full:
            return f"full {len(self.running)}/{self.spec.max_in_flight}"
        return None

    @property
    def state(self) -> str:
        """One word for people: ready, draining, drained or maintenance."""
        if self.admin_state is AdminState.DRAINING and not self.running:
            return "drained"
        return self.admin_state.value
