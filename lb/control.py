"""What the operator's side is handed: it sees the registry and the numbers, never a socket."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from lb.core.drain import Drain, Outcome, Then
from lb.observe.audit_trail import Audit
from lb.observe.event_feed import Feed
from lb.observe.sampler import Sampler, in_flight

if TYPE_CHECKING:
    from lb.config.reload import Reloader
    from lb.config.settings import Config
    from lb.core.backend import Backend
    from lb.core.health.probe_verdict import Check
    from lb.core.registry import Registry
    from lb.observe.counters import Metrics
    from lb.observe.recorder import Recorder


def nothing(_is_draining: bool = False) -> None:
    """Where nobody runs, nobody needs to be told."""


@dataclass(slots=True, kw_only=True)
class Control:
    """One running balancer, as an operator may see and steer it.

    `save` writes the runtime changes to the state file and says whether there is one; it raises `OSError`
    where the file cannot be written. `check` probes a backend now and judges it by that; LookupError where
    its pool has no probe. `recorder` stays empty where the operator's side is off. `wall` turns a time of
    the registry's clock into seconds since 1970. `stop` begins the graceful end; `on_drain` is told when the
    whole balancer begins to drain, and when that is taken back. `sampler` and `feed` are at rest until
    somebody samples and publishes.
    """

    config: "Config"
    registry: "Registry"
    metrics: "Metrics"
    recorder: "Recorder"
    save: Callable[[], Awaitable[bool]]
    check: "Callable[[Backend], Awaitable[Check]]"
    wall: Callable[[float], float]
    reload: "Reloader | None" = None
    listening: list[str] = field(default_factory=list)
    started: float = 0.0
    stopping: bool = False
    stop: Callable[[], None] = nothing
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
        """Take the whole balancer out: it is not ready from now on, and serves whoever comes nevertheless.

        Whoever sends traffic here decides when it stops coming. Repeated, it is the same drain.
        """
        if self.drain is None:
            self.drain = Drain(self.registry.now(), self.in_flight, inf, Then.KEEP)
            self.audit.changed("balancer", "ready", "draining")
            self.on_drain(True)
        return self.drain

    def end_drain(self) -> Drain | None:
        """Take it back; the drain that was, or None."""
        drain, self.drain = self.drain, None
        if drain is not None:
            self.audit.changed("balancer", "draining", "ready")
            self.on_drain(False)
            drain.end(Outcome.CANCELLED, self.registry.now())
        return drain
