"""What the admin side is handed of a running balancer: the registry and the numbers, never a socket."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import trio

from lb.config.diff import Difference
from lb.config.reload import Reloader
from lb.core.backend import Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.health.probe_verdict import Check
from lb.core.registry import Registry
from lb.core.running_exchange import NothingRuns, Running
from lb.observe.audit_trail import Audit
from lb.observe.counters import Metrics
from lb.observe.event_feed import Feed
from lb.observe.recorder import Recorder
from lb.observe.sampler import Sampler, in_flight
from lb.settings.balancer_settings import Config


async def not_resolved(_host: str, _port: int) -> list[str]:
    """The look-up of a Control without a running balancer."""
    await trio.lowlevel.checkpoint()
    return []


def nothing(_is_draining: bool = False) -> None:
    """The callback of a Control without a running balancer, as tests make it."""


@dataclass(slots=True, kw_only=True)
class Control:
    """One running balancer, as an operator may see and steer it.

    `save` writes the runtime changes to the state file and says whether there is one; OSError where it
    cannot be written. `check` probes a backend now and lets the result count; LookupError where its pool has
    no probe. `recorder` stays empty without an admin side. `running` lists and ends what runs now. `look_up`
    gives the addresses of a host for a port, none where it has none. `wall`
    turns a time of the registry's clock into seconds since 1970. `stop` begins the graceful end. `on_drain`
    is called when the whole balancer begins to drain (True) and when that is taken back (False). `sampler`
    and `feed` do nothing by themselves: the admin side samples and publishes.
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
    listening: list[str] = field(default_factory=list)
    started: float = 0.0
    stopping: bool = False
    stop: Callable[[], None] = nothing
    look_up: Callable[[str, int], Awaitable[list[str]]] = not_resolved
    on_drain: Callable[[bool], None] = nothing
    drain: Drain | None = None
    sampler: Sampler = field(init=False)
    audit: Audit = field(init=False)
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        self.sampler = Sampler(self.registry, self.metrics)
        self.audit = Audit(self.registry, self.wall)
        self.feed = Feed(int(self.wall(self.started) * 1000))

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
