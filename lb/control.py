"""What the admin side is handed of a running balancer: the registry and the numbers, never a socket."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Literal, Protocol

import trio

from lb.config.diff import Difference
from lb.config.reload import Reloader
from lb.core.backend import Backend
from lb.core.cluster_view import Alone, Guard, SharedChange, Together
from lb.core.discovery_view import Finding, NothingFound
from lb.core.drain import Drain, Outcome, Then
from lb.core.health.probe_verdict import Check
from lb.core.registry import Registry
from lb.core.renewal_view import NoRenewals, Renewals
from lb.core.routed import Asked, Routed
from lb.core.running_exchange import NothingRuns, Running
from lb.core.trouble import Troubles
from lb.core.worker_view import NoWorkers, Workers
from lb.observe.all_exchanges import Exchanges, OwnExchanges
from lb.observe.audit_trail import Audit
from lb.observe.counters import Metrics
from lb.observe.event_feed import Feed
from lb.observe.log_level import LogLevels
from lb.observe.recorder import Recorder
from lb.observe.sampler import Sampler, in_flight
from lb.settings.balancer_settings import Config

if TYPE_CHECKING:
    from lb.certificate_files.termination import Termination


async def not_resolved(_host: str, _port: int) -> list[str]:
    """The look-up of a Control without a running balancer."""
    await trio.lowlevel.checkpoint()
    return []


def of_nobody(_host: str, _port: int) -> bool:
    """Whether the configuration names a backend there, of a Control without a running balancer."""
    return False


def nothing(_is_draining: bool = False) -> None:
    """The callback of a Control without a running balancer, as tests make it."""


async def not_routed(_asked: Asked) -> Routed:
    """The judge of a Control without a running balancer."""
    await trio.lowlevel.checkpoint()
    return Routed()


UpgradeKind = Literal["upgrading", "upgraded", "not upgraded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """The program that serves now, and how long that took."""

    pid: int
    version: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The program that an upgrade would start, the version that it names, and its notes about the file."""

    command: tuple[str, ...]
    version: str
    notes: tuple[str, ...]


class Upgrade(Protocol):
    """Replaces the program by another one. NotUpgraded where it cannot; then it goes on as before."""

    async def __call__(self) -> Replacement:
        """Returns when the other one serves and this one accepts no more."""
        ...

    async def rehearse(self) -> Rehearsal:
        """What would be started now."""
        ...

    def subscribe(self, tell: Callable[[UpgradeKind, str], None]) -> None:
        """Call `tell` when an upgrade begins and ends, with words about it. `tell` must not raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What becomes of a change that is tried on a copy: `change` makes it, and `original` has it then.

    `by` is the operator, and `guard` what nobody else may have changed meanwhile.
    """

    original: "Control"
    change: SharedChange
    by: str
    guard: Guard


@dataclass(slots=True, kw_only=True)
class Control:
    """One running balancer, as an operator may see and steer it.

    `save` makes the runtime changes hold: it waits until all workers have applied them (one that does not in
    time is killed), then writes the state file, and says whether there is one; OSError where it cannot be
    written. `check` probes a backend now and lets the result count; LookupError where its pool has no
    probe. `exchanges` has those that ended and those that run, in all processes; `recorder`, which stays
    empty without an admin side, and `running` have those of this process alone. `workers` are those of a
    balancer of several processes, `renewals` the certificates that it orders, `discovery` its sources of
    backends, `cluster` the balancers that share the wishes of operators. `sharing` is there of a copy on
    which a change for all of them is tried. `look_up` gives the addresses of a host for a port, none where it
    has none. `is_own_word` says whether the configuration names a backend of this host and port. `route` says
    which way a made-up request would take. `wall` turns a time of the registry's clock into seconds since
    1970. `one_set_at_a_time` belongs to who applies a whole set of backends, for all the steps that it takes.
    `stop` begins the graceful end. `on_drain` is called when the whole balancer begins to drain (True) and
    when that is taken back (False). `sampler`, `troubles` and `feed` do nothing by themselves: the admin side
    samples, looks and publishes. `upgrade` replaces the program by another one. `is_handing_over`: the wishes
    are another program's already, so nobody may change them here. `handed_over` is set once that one serves;
    then nothing is accepted here any more. `admin_sockets` are the descriptors of the admin side's listening
    sockets. `tls` is there where a listener speaks it, or the admin side; `tls_listening` are their bound
    addresses.
    """

    config: Config
    registry: Registry
    metrics: Metrics
    recorder: Recorder
    save: Callable[[], Awaitable[bool]]
    check: Callable[[Backend], Awaitable[Check]]
    wall: Callable[[float], float]
    reload: Reloader | None = None
    running: Running = field(default_factory=NothingRuns)
    workers: Workers = field(default_factory=NoWorkers)
    renewals: Renewals = field(default_factory=NoRenewals)
    discovery: Finding = field(default_factory=NothingFound)
    cluster: Together = field(default_factory=Alone)
    sharing: "Sharing | None" = None
    listening: list[str] = field(default_factory=list)
    tls: "Termination | None" = None
    tls_listening: list[str] = field(default_factory=list)
    started: float = 0.0
    stopping: bool = False
    stop: Callable[[], None] = nothing
    look_up: Callable[[str, int], Awaitable[list[str]]] = not_resolved
    is_own_word: Callable[[str, int], bool] = of_nobody
    route: Callable[[Asked], Awaitable[Routed]] = not_routed
    on_drain: Callable[[bool], None] = nothing
    drain: Drain | None = None
    one_set_at_a_time: trio.Lock = field(default_factory=trio.Lock)
    upgrade: Upgrade | None = None
    is_handing_over: bool = False
    handed_over: trio.Event = field(default_factory=trio.Event)
    admin_sockets: list[int] = field(default_factory=list)
    troubles: Troubles = field(default_factory=Troubles)
    exchanges: Exchanges = field(init=False)
    sampler: Sampler = field(init=False)
    audit: Audit = field(init=False)
    feed: Feed = field(init=False)
    log_levels: LogLevels = field(init=False)

    def __post_init__(self) -> None:
        self.exchanges = OwnExchanges(self.recorder, lambda: self.running, self.registry)
        self.sampler = Sampler(self.registry, self.metrics)
        self.audit = Audit(self.registry, self.wall)
        self.feed = Feed(int(self.wall(self.started) * 1000))
        self.log_levels = LogLevels(self.config.log_level, self.registry.now)

    @property
    def in_flight(self) -> int:
        """Requests that are being served now."""
        return in_flight(self.metrics)

    def begin_drain(self) -> Drain:
        """Drain the whole balancer: it reports that it is not ready, and still serves every request.

        The load balancer or DNS in front of this one decides when requests stop coming. Called again, it
        returns the same drain.
        """
        if self.drain is None:
            self.drain = Drain(self.registry.now(), self.in_flight, inf, Then.KEEP)
            self.audit.changed("balancer", "ready", "draining")
            self.on_drain(True)
        return self.drain

    def end_drain(self) -> Drain | None:
        """Take the drain back; returns that drain, or None where there was none."""
        drain, self.drain = self.drain, None
        if drain is not None:
            self.audit.changed("balancer", "draining", "ready")
            self.on_drain(False)
            drain.end(Outcome.CANCELLED, self.registry.now())
        return drain

    def set_config(self, config: Config, difference: Difference) -> None:
        """Make this the current config. The audit hears of pools from the registry, of the rest here."""
        for each in difference.settings:
            if not each.key.startswith("pools."):
                self.audit.changed(each.key, each.before, each.after)
        self.config = config

    def count_reload(self, result: Literal["success", "failure"]) -> None:
        self.metrics.config_reloads[result] += 1

    def config_loaded(self) -> None:
        """Note that a config was read without a mistake just now."""
        self.metrics.config_loaded_at = self.wall(self.registry.now())
