"""What is remembered of one source of backends, and how a backend that it has found stands."""

from dataclasses import dataclass, field

from lb.core.announced import Announced, Announcement
from lb.core.backend import Backend
from lb.settings.backend_spec import BackendSpec
from lb.settings.discover_settings import Defaults, Discover

GOOD_BELOW = 500
"""An answer with a lower status shows that a backend works."""


@dataclass(slots=True)
class Following:
    """What is remembered of one source of one pool.

    `good_since` is since when it has been well, None while it fails. `base` is how many of its backends were
    available when last nothing was due. `missing` says since when each is missed, `entered` when it came.
    `specs` has what was made of each announcement. `entries` are the last ones of each that came lately,
    `accepted` those that an operator lets go. `hidden` are named, and an operator removed them; `unnamed`
    says since when some of those are named no more.
    """

    pool: str
    settings: Discover
    drain_timeout: float = 60.0
    good_since: float | None = None
    announced: Announced | None = None
    base: int = 0
    missing: dict[str, float] = field(default_factory=dict)
    entered: dict[str, float] = field(default_factory=dict)
    entries: dict[str, list[float]] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)
    shadowed: dict[str, str] = field(default_factory=dict)
    specs: dict[str, tuple[Announcement, BackendSpec]] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    unnamed: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.settings.name

    def failed(self) -> None:
        """The source could not say what there is: what is missing begins its grace anew when it is well."""
        self.good_since = None

    def told(self, announced: Announced, now: float) -> None:
        """The source has said this."""
        self.announced = announced
        if self.good_since is None:
            self.good_since = now

    def removed(self, backend_id: str) -> None:
        """It is not there any more: it is neither missed nor held, also while the source fails."""
        self.missing.pop(backend_id, None)
        self.held.pop(backend_id, None)
        self.accepted.discard(backend_id)

    def accept(self) -> list[str]:
        """An operator lets go what is held: follow the source in this. Their ids."""
        self.accepted.update(self.held)
        return [*self.held]


def is_available(backend: Backend) -> bool:
    """It takes requests, or would if it were not full: nobody wishes or knows better."""
    return backend.is_ready and backend.is_fit


def is_bad(backend: Backend) -> bool:
    """Probes or requests speak against it, so that it is not missed."""
    return not backend.is_fit


def is_proven(backend: Backend) -> bool:
    """It has been seen to work: a probe has passed, or it has given a good answer."""
    if not is_available(backend):
        return False
    if backend.health is not None and backend.health.passes:
        return True
    return any(code < GOOD_BELOW for code in backend.codes)


def spec_of(said: Announcement, defaults: Defaults) -> BackendSpec:
    """The backend that is announced, checked; ValueError names what is wrong with it."""
    return BackendSpec(
        id=said.id,
        url=said.url,
        weight=defaults.weight if said.weight is None else said.weight,
        max_in_flight=defaults.max_in_flight if said.max_in_flight is None else said.max_in_flight,
        max_connections=defaults.max_connections if said.max_connections is None else said.max_connections,
        backup=defaults.backup if said.backup is None else said.backup,
        labels={**defaults.labels, **said.labels} if defaults.labels else said.labels,
    ).checked()
