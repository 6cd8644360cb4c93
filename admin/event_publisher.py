"""Publishes what happens in the balancer to the feed of /events; one task ticks once a second.

    serve_admin ── ticking    reads the counters, asking workers, looks for trouble, and publishes the
                              numbers and how far each drain is

A failed request, or a custom policy that raises, may occur for every request. At most a few of these events
are published each second, and the rest are counted: a backend that fails a thousand times a second must not
push all other events out of the feed, and must cost the traffic no more than the count.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import msgspec
import trio

from admin.protocol.long_json import in_parts
from admin.trouble_watch import TroubleWatch
from admin.views import event_json
from admin.views.stats_json import described
from lb.config.reload import Kind as ReloadKind
from lb.control import Control, UpgradeKind
from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Event
from lb.core.registry_events import PoolEvent
from lb.core.renewal_view import RenewalEvent
from lb.core.worker_view import WorkerEvent
from lb.slices import freed, sliced

if TYPE_CHECKING:
    from lb.certificate_files.termination import CertificateEvent

TICK_SECONDS = 1.0
FAILURES_A_TICK = 5
QUIET_SECONDS = 10.0
"""After one event about the policy of a pool, none about it for so long."""

BACKEND = frozenset({"added", "changed", "ready", "maintenance", "removed"})
DRAIN = frozenset({"draining", "drained"})


class EventPublisher:
    """Subscribes to one balancer, and stays subscribed for as long as that exists."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._quiet_until: dict[str, float] = {}
        self._failures_left = FAILURES_A_TICK
        self._untold = 0
        self._is_stopping = False
        self._trouble = TroubleWatch(control)
        control.registry.subscribe(self._backend_event, self._pool_event)
        control.exchanges.when_failed(self._failed)
        control.workers.subscribe(self._worker_event)
        control.renewals.subscribe(self._renewal_event)
        control.log_levels.subscribe(self._log_level_event)
        if control.reload is not None:
            control.reload.subscribe(self._reload_event)
        if control.upgrade is not None:
            control.upgrade.subscribe(self._upgrade_event)
        if control.tls is not None:
            control.tls.subscribe(self._certificate_event)

    async def run(self) -> None:
        """Tick until cancelled. A tick that was missed is left out."""
        due = trio.current_time()
        while True:
            await self._control.workers.refresh()
            await sliced(self.ticking(trio.current_time))
            await self._trouble.look()
            await self.publish_stats()
            await self._control.feed.hand_round()
            due = max(due + TICK_SECONDS, trio.current_time())
            await trio.sleep_until(due)

    def ticking(self, now: Callable[[], float]) -> Generator[None, None, None]:
        """Read the counters, and publish how far each drain is; a backend with each step."""
        control, feed = self._control, self._control.feed
        yield from control.sampler.sampling(now)
        self._failures_left = FAILURES_A_TICK
        if control.stopping and not self._is_stopping:
            self._is_stopping = True
            feed.publish("balancer", event_json.balancer_event(control, "stopping"))
        for backend in control.registry.draining if feed.wants("drain") else ():
            drain = backend.drain
            if drain is not None and drain.outcome is None:
                event = event_json.drain_event(control, "progress", backend, drain)
                feed.publish_latest("drain", backend.id, event)
                yield

    async def publish_stats(self) -> None:
        """Publish the numbers of this second, if any reader of the feed wants them."""
        feed = self._control.feed
        if feed.wants("stats"):
            stats = await described(self._control)
            parts = await in_parts(stats, {"backends": stats.backends})
            feed.publish_latest("stats", "stats", msgspec.Raw(b"".join(parts)))
            await trio.lowlevel.checkpoint()
            await freed(stats.backends, parts)

    def _backend_event(self, event: Event) -> None:
        backend, feed = event.backend, self._control.feed
        if event.kind in DRAIN and backend.drain is not None:
            kind: event_json.DrainKind = "drained" if event.kind == "drained" else "draining"
            drain = event_json.drain_event(self._control, kind, backend, backend.drain, event.detail)
            feed.publish("drain", drain)
            return
        event_type = "backend" if event.kind in BACKEND else "health"
        feed.publish(event_type, event_json.backend_event(self._control, event))

    def _pool_event(self, event: PoolEvent) -> None:
        name, now = event.pool.name, self._control.registry.now()
        if event.kind == "policy failed":
            if now < self._quiet_until.get(name, now):
                return
            self._quiet_until[name] = now + QUIET_SECONDS
        self._control.feed.publish("config", event_json.pool_event(self._control, event))

    def _reload_event(self, kind: ReloadKind, detail: str) -> None:
        self._control.feed.publish("config", event_json.reload_event(self._control, kind, detail))

    def _worker_event(self, event: WorkerEvent) -> None:
        self._control.feed.publish("worker", event_json.worker_event(self._control, event))

    def _renewal_event(self, event: RenewalEvent) -> None:
        self._control.feed.publish("renewal", event_json.renewal_event(self._control, event))

    def _log_level_event(self, level: str, why: str) -> None:
        self._control.feed.publish("balancer", event_json.log_level_event(self._control, level, why))

    def _upgrade_event(self, kind: UpgradeKind, detail: str) -> None:
        self._control.feed.publish("balancer", event_json.upgrade_event(self._control, kind, detail))

    def _certificate_event(self, event: "CertificateEvent") -> None:
        self._control.feed.publish("certificate", event_json.certificate_event(self._control, event))

    def _failed(self, exchange: ExchangeRecord, untold: int = 0) -> None:
        self._untold += untold
        if self._failures_left <= 0:
            self._untold += 1
            return
        self._failures_left -= 1
        untold, self._untold = self._untold, 0
        event = event_json.failed_event(self._control, exchange, untold)
        self._control.feed.publish("request_failed", event)
