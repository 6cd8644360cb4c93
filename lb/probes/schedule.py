"""Active health checks: which backend is probed when, and which results count.

    probes ─┬─ loop delay    notices when the event loop was late
            └─ prober        one task for each backend whose pool has a probe

The task of a backend is cancelled when the backend leaves, goes into maintenance (as in HAProxy), or gets
another probe or address; in the last case a new task starts. A draining backend is probed, because it may
come back. The first probes are spread over one interval, so that many backends are not probed in step.

A probe that failed while the event loop was late does not count and is repeated at once. Otherwise, after
this process was stopped for a minute, every backend would be down. After such a delay the pauses of all
tasks end together, so they are spread again.

Probing and judging are elsewhere: `lb.probes.prober` makes one probe, `Registry.checked` turns results into
up and down.
"""

from collections.abc import Callable, Generator
from random import random
from typing import NamedTuple

import structlog
import trio

from lb.core.backend import AdminState, Backend
from lb.core.health.probe_verdict import Check
from lb.core.registry import Event, PoolEvent, Registry
from lb.net.descriptors import soft_limit
from lb.net.resolver import Names
from lb.net.timers import LATE_SECONDS
from lb.probes.loop_delay import LoopDelay
from lb.probes.probe_target import ProbeTarget
from lb.probes.prober import ProbeResult, probe_once
from lb.probes.tls_to_probed import TlsToProbed
from lb.settings.backend_spec import is_tls
from lb.slices import sliced

AT_ONCE = frozenset(("ready", "changed"))
"""Events of one backend after which an operator wants the first probe at once."""

LEAST_AT_ONCE = 20
DESCRIPTORS_SHARE = 10
"""Probes that run at a time have at most one in so many descriptors, since clients need them more."""

log = structlog.get_logger()


class Prober(NamedTuple):
    """The task of one backend: what it probes, and the cancel scope that ends it."""

    target: ProbeTarget
    scope: trio.CancelScope


class Probes:
    """All active checks of one balancer. Only `run` starts and ends tasks; it follows the registry."""

    def __init__(self, registry: Registry, names: Names, chance: Callable[[], float] = random) -> None:
        self._registry = registry
        self._names = names
        self._chance = chance
        self._delay = LoopDelay()
        self._secure = TlsToProbed()
        self._probers: dict[Backend, Prober] = {}
        self._changed: dict[Backend, bool] = {}  # backends to look at again, and whether to probe at once
        self._has_changes = trio.Event()
        self._uncounted: set[Backend] = set()
        self._turns = trio.CapacityLimiter(max(LEAST_AT_ONCE, soft_limit() // DESCRIPTORS_SHARE))
        registry.subscribe(self._on_event, self._on_pool_event)

    async def check(self, backend: Backend) -> Check:
        """Probe this backend now, in maintenance too, and let the result count.

        Where the result does not count, `why` says so. LookupError where its pool has no probe.
        """
        target = self._target(backend)
        if target is None:
            raise LookupError(f"pool {backend.pool!r} has no probe")
        result = await probe_once(target, self._names, self._delay, self._secure)
        self._judge(backend, target, result)
        if result.was_late:
            return result.check._replace(why=f"{result.check.why} (not counted: this balancer was late)")
        return result.check

    async def run(self) -> None:
        """Keep one task for each backend that is to be probed, until cancelled."""
        self._changed.update(dict.fromkeys(self._registry.backends.values(), False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._delay.run)
            nursery.start_soon(self._secure.watch_files)
            while True:
                self._has_changes = trio.Event()
                changed, self._changed = self._changed, {}
                await sliced(self._updating_tasks(changed, nursery))
                await self._has_changes.wait()

    def _on_event(self, event: Event) -> None:
        is_urgent = event.kind in AT_ONCE or self._changed.get(event.backend, False)
        self._changed[event.backend] = is_urgent
        self._has_changes.set()

    def _on_pool_event(self, event: PoolEvent) -> None:
        self._changed = dict.fromkeys(event.pool.backends, False) | self._changed
        self._has_changes.set()

    def _target(self, backend: Backend) -> ProbeTarget | None:
        if backend.removed:  # its pool may be gone too
            return None
        settings = self._registry.pools[backend.pool].settings
        probe = settings.probe
        if probe is None:
            return None
        is_same_port = probe.port in (None, backend.port)
        tls = settings.tls if is_same_port and is_tls(backend.spec.url) else None
        version = settings.proxy_protocol if is_same_port else 0
        return ProbeTarget(probe, backend.host, backend.port, tls, version)

    def _updating_tasks(
        self, changed: dict[Backend, bool], nursery: trio.Nursery
    ) -> Generator[None, None, None]:
        """For each of those that have changed, which are forgotten one by one: they may have left."""
        while changed:
            self._update_task(*changed.popitem(), nursery)
            yield

    def _update_task(self, backend: Backend, is_urgent: bool, nursery: trio.Nursery) -> None:
        """End a task whose target has changed, and start the one that is wanted now."""
        target = None if backend.admin_state is AdminState.MAINTENANCE else self._target(backend)
        there = self._probers.get(backend)
        if there is not None and there.target != target:
            self._probers.pop(backend).scope.cancel()
            self._uncounted.discard(backend)
        if target is not None and backend not in self._probers:
            prober = self._probers[backend] = Prober(target, trio.CancelScope())
            self._delay.is_wanted.set()
            nursery.start_soon(self._keep_probing, backend, prober, is_urgent)

    async def _keep_probing(self, backend: Backend, prober: Prober, is_urgent: bool) -> None:
        """Probe and pause until `_update_task` cancels the scope."""
        with prober.scope:
            if not is_urgent:
                await self._sleep(self._chance() * self._pause(backend, prober.target))
            while True:
                if not await self._was_late(backend, prober.target):
                    await self._sleep(self._pause(backend, prober.target))

    async def _was_late(self, backend: Backend, target: ProbeTarget) -> bool:
        """Probe once; whether to repeat it at once. A bug in here is logged and ends no task."""
        try:
            async with self._turns:
                result = await probe_once(target, self._names, self._delay, self._secure)
            self._judge(backend, target, result)
        except Exception:
            log.exception("bug in a probe", backend=backend.id)
            return False
        return result.was_late

    def _pause(self, backend: Backend, target: ProbeTarget) -> float:
        health = backend.health  # None: the pool has lost its probe, and this task is about to be cancelled
        return target.probe.interval if health is None else health.pause(self._chance())

    async def _sleep(self, seconds: float) -> None:
        """Sleep. If the event loop was late, all tasks wake now: sleep again, by chance, out of step."""
        due = trio.current_time() + seconds
        await trio.sleep_until(due)
        if trio.current_time() - due > LATE_SECONDS:
            await trio.sleep(self._chance() * seconds)

    def _judge(self, backend: Backend, target: ProbeTarget, result: ProbeResult) -> None:
        """Tell the registry, unless the result does not count or the target has changed meanwhile."""
        check = result.check
        log.debug("probe", backend=backend.id, ok=check.ok, why=check.why, seconds=round(check.seconds, 4))
        if not result.was_ours or backend.removed:
            self._uncounted.discard(backend)
        elif backend not in self._uncounted:
            self._uncounted.add(backend)
            log.warning("probes do not count", backend=backend.id, why=result.check.why)
        if not result.was_ours and not result.was_late and self._target(backend) == target:
            self._registry.checked(backend, result.check)
