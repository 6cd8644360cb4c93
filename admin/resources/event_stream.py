"""From what happens in the balancer to the events of /events, and the task that ticks once a second.

    serve_admin ── ticking    reads the counters, tells the numbers and how far each drain is

What may happen for every request (a failure, a policy of somebody's own that raises) is told a few times a
second and counted beyond that: a backend that fails a thousand times a second must not push everything else
out of the feed, nor cost the traffic more than that count.
"""

from typing import Literal, cast

import msgspec
import trio

from admin.resources.stats import described, progress
from admin.views import backend_json
from lb.config.reload import Kind as ReloadKind
from lb.control import Control
from lb.core.backend import Backend
from lb.core.drain import Drain
from lb.core.exchange_record import ExchangeRecord
from lb.core.registry import Event, PoolEvent
from lb.observe.access_log import safe

TICK_SECONDS = 1.0
FAILURES_A_TICK = 5
QUIET_SECONDS = 10.0
"""After a word about a policy that failed; as in the log."""

BACKEND = frozenset({"added", "changed", "ready", "maintenance", "removed"})
DRAIN = frozenset({"draining", "drained"})

BackendKind = Literal[
    "added", "changed", "ready", "maintenance", "removed", "up", "down", "ejected", "trial", "admitted"
]
DrainKind = Literal["draining", "progress", "drained"]
ConfigKind = Literal[
    "added", "configured", "removed", "panic", "calm", "policy failed", "reloaded", "not reloaded"
]


class BackendEvent(msgspec.Struct, kw_only=True):
    """`backend`: an operator did it; `health`: probes or exchanges have shown it. `state` is that of now."""

    kind: BackendKind
    backend: str
    pool: str
    state: str
    detail: str
    at: str


class DrainEvent(msgspec.Struct, kw_only=True):
    """`drain`: one begins or is extended, goes on (once a second), or has ended: then `aborted` were cut."""

    kind: DrainKind
    backend: str
    pool: str
    remaining: int
    started_with: int
    deadline_seconds: float | None
    duration_seconds: float
    aborted: int
    detail: str
    at: str


class ConfigEvent(msgspec.Struct, kw_only=True):
    """`config`: a pool came or went by a reload, has other settings (`detail` names them), panics or is calm,
    or its policy failed. A reload as a whole has no `pool`; `detail` is what it changed or the first mistake.
    """

    kind: ConfigKind
    pool: str | msgspec.UnsetType = msgspec.UNSET
    detail: str
    at: str


class BalancerEvent(msgspec.Struct, kw_only=True):
    """`balancer`: it is taken out as a whole, taken back, or stops."""

    kind: Literal["draining", "ready", "stopping"]
    remaining: int
    at: str


class FailedEvent(msgspec.Struct, kw_only=True):
    """`request_failed`: the id leads to its record. `untold` others failed since the event before this."""

    id: str
    client: str
    method: str
    target: str
    status: int
    error: str | None
    detail: str
    pool: str
    backend: str | None
    attempts: int
    seconds: float
    untold: int
    at: str


class Teller:
    """Listens to one balancer, for as long as that lives, and puts it into words."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._quiet_until: dict[str, float] = {}
        self._may_fail = FAILURES_A_TICK
        self._untold = 0
        self._is_stopping = False
        control.registry.subscribe(self._backend_event, self._pool_event)
        control.recorder.when_failed(self._failed)
        if control.reload is not None:
            control.reload.subscribe(self._reload_event)

    async def run(self) -> None:
        """Tick until cancelled; a tick that is missed is not made up for."""
        due = trio.current_time()
        while True:
            self.tick(trio.current_time())
            await self.tell_numbers()
            await self._control.feed.hand_round()
            due = max(due + TICK_SECONDS, trio.current_time())
            await trio.sleep_until(due)

    def tick(self, now: float) -> None:
        """What is to be read and told each second."""
        control, feed = self._control, self._control.feed
        control.sampler.sample(now)
        self._may_fail = FAILURES_A_TICK
        if control.stopping and not self._is_stopping:
            self._is_stopping = True
            balancer_event(control, "stopping")
        for backend in control.registry.backends.values():
            drain = backend.drain
            if drain is not None and drain.outcome is None:
                feed.publish_latest("drain", backend.id, self._drain("progress", backend, drain))

    async def tell_numbers(self) -> None:
        """The numbers of this second, if anybody wants to hear them."""
        feed = self._control.feed
        if feed.wants("stats"):
            feed.publish_latest("stats", "stats", await described(self._control))

    def _backend_event(self, event: Event) -> None:
        backend, feed = event.backend, self._control.feed
        if event.kind in DRAIN and backend.drain is not None:
            kind: DrainKind = "drained" if event.kind == "drained" else "draining"
            feed.publish("drain", self._drain(kind, backend, backend.drain, event.detail))
            return
        told = BackendEvent(
            kind=cast("BackendKind", event.kind),
            backend=backend.id,
            pool=backend.pool,
            state=backend.state,
            detail=encodable(event.detail),
            at=self._now(),
        )
        feed.publish("backend" if event.kind in BACKEND else "health", told)

    def _pool_event(self, event: PoolEvent) -> None:
        """A policy may fail for each request."""
        name, now = event.pool.name, self._control.registry.now()
        if event.kind == "policy failed":
            if now < self._quiet_until.get(name, now):
                return
            self._quiet_until[name] = now + QUIET_SECONDS
        kind = cast("ConfigKind", event.kind)
        told = ConfigEvent(kind=kind, pool=name, detail=encodable(event.detail), at=self._now())
        self._control.feed.publish("config", told)

    def _reload_event(self, kind: ReloadKind, detail: str) -> None:
        told = ConfigEvent(kind=kind, detail=encodable(detail), at=self._now())
        self._control.feed.publish("config", told)

    def _failed(self, exchange: ExchangeRecord) -> None:
        if self._may_fail <= 0:
            self._untold += 1
            return
        self._may_fail -= 1
        untold, self._untold = self._untold, 0
        self._control.feed.publish("request_failed", failed(exchange, untold, self._now()))

    def _drain(self, kind: DrainKind, backend: Backend, drain: Drain, detail: str = "") -> DrainEvent:
        now = self._control.registry.now()
        far = progress(backend, drain, now)
        return DrainEvent(
            kind=kind,
            backend=backend.id,
            pool=backend.pool,
            remaining=far.remaining,
            started_with=far.started_with,
            deadline_seconds=None if kind == "drained" else far.deadline_seconds,
            duration_seconds=round(drain.duration(now), 3),
            aborted=drain.aborted,
            detail=encodable(detail),
            at=self._now(),
        )

    def _now(self) -> str:
        return backend_json.timestamp(self._control.wall(self._control.registry.now()))


def failed(exchange: ExchangeRecord, untold: int, at: str) -> FailedEvent:
    """An exchange that failed, in a few words."""
    ended = exchange.started if exchange.ended is None else exchange.ended
    return FailedEvent(
        id=safe(exchange.id),
        client=exchange.client,
        method=safe(exchange.method),
        target=safe(exchange.target),
        status=exchange.status,
        error=None if exchange.reason is None else exchange.reason.value,
        detail=encodable(exchange.detail),
        pool=exchange.pool,
        backend=None if exchange.deciding is None else exchange.deciding.backend.id,
        attempts=len(exchange.attempts),
        seconds=round(ended - exchange.started, 6),
        untold=untold,
        at=at,
    )


def encodable(text: str) -> str:
    """What a backend or somebody's policy said may hold what UTF-8 cannot; a subscriber never raises."""
    return text.encode(errors="backslashreplace").decode()


def balancer_event(control: Control, kind: Literal["draining", "ready", "stopping"]) -> None:
    """Tell what happens to the whole."""
    at = backend_json.timestamp(control.wall(control.registry.now()))
    control.feed.publish("balancer", BalancerEvent(kind=kind, remaining=control.in_flight, at=at))
