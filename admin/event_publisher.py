"""Publishes what happens in the balancer to the feed of /events; one task ticks once a second.

    serve_admin ── ticking    reads the counters, publishes the numbers and how far each drain is

A failed request, or a custom policy that raises, may occur for every request. At most a few of these events
are published each second, and the rest are counted: a backend that fails a thousand times a second must not
push all other events out of the feed, and must cost the traffic no more than the count.
"""

import trio

from admin.views import event_json
from admin.views.stats_json import described
from lb.config.reload import Kind as ReloadKind
from lb.control import Control
from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Event
from lb.core.registry_events import PoolEvent

TICK_SECONDS = 1.0
FAILURES_A_TICK = 5
QUIET_SECONDS = 10.0
"""After one event about a policy that failed, none for so long; as in the log."""

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
        control.registry.subscribe(self._backend_event, self._pool_event)
        control.recorder.when_failed(self._failed)
        if control.reload is not None:
            control.reload.subscribe(self._reload_event)

    async def run(self) -> None:
        """Tick until cancelled. A tick that was missed is left out."""
        due = trio.current_time()
        while True:
            self.tick(trio.current_time())
            await self.publish_stats()
            await self._control.feed.hand_round()
            due = max(due + TICK_SECONDS, trio.current_time())
            await trio.sleep_until(due)

    def tick(self, now: float) -> None:
        """Read the counters, and publish how far each drain is."""
        control, feed = self._control, self._control.feed
        control.sampler.sample(now)
        self._failures_left = FAILURES_A_TICK
        if control.stopping and not self._is_stopping:
            self._is_stopping = True
            feed.publish("balancer", event_json.balancer_event(control, "stopping"))
        for backend in control.registry.backends.values():
            drain = backend.drain
            if drain is not None and drain.outcome is None:
                event = event_json.drain_event(control, "progress", backend, drain)
                feed.publish_latest("drain", backend.id, event)

    async def publish_stats(self) -> None:
        """Publish the numbers of this second, if any reader of the feed wants them."""
        feed = self._control.feed
        if feed.wants("stats"):
            feed.publish_latest("stats", "stats", await described(self._control))

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

    def _failed(self, exchange: ExchangeRecord) -> None:
        if self._failures_left <= 0:
            self._untold += 1
            return
        self._failures_left -= 1
        untold, self._untold = self._untold, 0
        event = event_json.failed_event(self._control, exchange, untold)
        self._control.feed.publish("request_failed", event)
