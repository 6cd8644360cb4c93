"""What is true of the backends, and what follows from it in time: registry, names, probes, state, reloads.

It carries no request. What does is told of changes through `Carrier`: in the same process (`lb.app`), or in
others (`lb.workers`).
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from random import random
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from lb.config import state_file
from lb.config.config_source import ConfigSource
from lb.config.cookie_keys import CookieKeys
from lb.config.decode import join
from lb.config.inheritance import Inheritance
from lb.config.reload import Logs, Pools, Reloader, by_all
from lb.config.tls_check import listens_with_tls
from lb.control import Control
from lb.core.allowed_addresses import AddressRule
from lb.core.backend import Backend
from lb.core.found_control import word_of
from lb.core.registry import Event, PoolEvent, Registry
from lb.core.routes import Routes
from lb.errors import ConfigError
from lb.expiry import Expiry
from lb.net.handed_listeners import HandedListeners
from lb.net.resolver import Names
from lb.observe import log_level
from lb.observe.audit_file import AuditFile
from lb.observe.change_log import ChangeLog, told
from lb.observe.counters import Metrics
from lb.observe.recorder import Recorder
from lb.probes.schedule import Probes
from lb.proxy.front_rules import HTTPS_PORT, ServedNames
from lb.proxy.route_judge import RouteJudge
from lb.settings.balancer_settings import Config, LogLevel
from lb.slices import sliced
from lb.wall_clock import wall_clock

if TYPE_CHECKING:
    from lb.acme.upkeep import Upkeep
    from lb.certificate_files.termination import Termination
    from lb.cluster.joined import Joined
    from lb.discovery.source_keeper import Discovery

QUIET_SECONDS = 10.0
"""The pause between two log lines about custom policies that failed; failures in it are only counted."""

log = structlog.get_logger()


def check_sources(pools: Pools) -> None:
    """ConfigError, which names the key, where a source of these pools cannot be made."""
    if any(pool.discover for pool in pools.values()):
        from lb.discovery.kinds import check

        check(pools)


class Carrier(Protocol):
    """What carries the traffic, as far as an operator's wishes reach it."""

    def configure(self, config: Config, routes: Routes | None = None) -> None:
        """Use these settings from the next request on."""
        ...

    def drain(self, is_draining: bool) -> None:
        """The whole balancer drains, or does so no more."""
        ...

    def log_at(self, level: LogLevel) -> None:
        """The program's log has lines from this level on."""
        ...


class Steering:
    """The truth about one balancer, filled from its configuration and its state file.

    `control` is what the operator's side is handed; `steer` connects it with what carries the traffic.
    """

    def __init__(self, config: Config, inheritance: Inheritance | None = None) -> None:
        self._inheritance = inheritance
        self.cookie_keys = CookieKeys(None if inheritance is None else inheritance.cookie_key)
        self.registry = Registry(trio.current_time, random, self.cookie_keys.read, time.time)
        self.metrics = Metrics()
        self.recorder = Recorder(durations=self.metrics.durations_of)
        self._change_log = ChangeLog()
        self._quiet_until = 0.0
        self._saving = trio.Lock()
        self._has_left = trio.Event()
        self._has_to_save = False
        self.stop_wished = trio.Event()
        self._upkeep: Upkeep | None = None
        self._finds = trio.Event()
        self._fill_registry(config)
        self._rule = rule = AddressRule(lambda: self.config, self._own_addresses)
        self.names = Names(self.registry, rule.objection)
        self._probes = Probes(self.registry, self.names)
        self._expiry = Expiry(self.registry)
        self.control = Control(
            config=config,
            registry=self.registry,
            metrics=self.metrics,
            recorder=self.recorder,
            save=self.save,
            check=self._probes.check,
            wall=wall_clock(),
            started=trio.current_time(),
            stop=self.stop,
            look_up=self.names.look_up,
            is_own_word=rule.is_own_word,
            route=RouteJudge(lambda: self.config, self._served).judge,
        )
        self._discovery: Discovery | None = None
        self._find()
        self._refusals: Callable[[], Awaitable[Sequence[str]]] = by_all
        self._joined = self._join(config)
        self._audit_file = AuditFile(config.admin.audit_file) if config.admin.audit_file else None
        if self._audit_file is not None:
            self.control.audit.also = self._audit_file.write

    def steer(
        self,
        carrier: Carrier,
        source: ConfigSource | None,
        access_log: Logs | None,
        certificates: "Termination | None" = None,
        refusals: Callable[[], Awaitable[Sequence[str]]] = by_all,
    ) -> None:
        """Let wishes reach what carries the traffic. With a source the configuration can be read again.

        `refusals` are those of who carries it (`lb.config.reload`).
        """

        def drain(is_draining: bool) -> None:
            log.info("balancer draining" if is_draining else "balancer ready")
            carrier.drain(is_draining)

        def log_at(level: LogLevel, _why: str) -> None:
            log_level.use(level)
            carrier.log_at(level)

        def adopt(config: Config, routes: Routes) -> None:
            carrier.configure(config, routes)
            self.control.log_levels.configure(config.log_level)
            self._rule.look_at_pools()
            if self._upkeep is not None:
                self._upkeep.configured()
            self._find()
            if self._joined is not None:
                self._joined.configured()

        self._refusals = refusals
        self.control.log_levels.subscribe(log_at)
        self.control.on_drain = drain
        self.control.tls = certificates
        if certificates is not None and listens_with_tls(self.config):
            self._keep_up(certificates)

        if source is not None:
            reading = self._reading
            self.control.reload = Reloader(
                source, self.control, adopt, access_log, reading, certificates, refusals
            )

    def _reading(self, pools: Pools) -> Iterator[None]:
        """Read the pools of a configuration that is about to be used; ConfigError where one cannot be."""
        check_sources(pools)
        yield from self._rule.reading(pools)

    def _keep_up(self, termination: "Termination") -> None:
        """Order certificates, where that is configured, now or later. It blocks: it reads what there is."""
        from lb.acme.upkeep import Upkeep

        self.control.renewals = self._upkeep = Upkeep(lambda: self.config, termination)
        self._upkeep.take_stored()

    def _find(self) -> None:
        """Follow the sources of the configuration, where there are any, now or later."""
        if self._discovery is not None:
            self._discovery.configured()
        elif any(pool.discover for pool in self.config.pools.values()):
            check_sources(self.config.pools)
            from lb.discovery.source_keeper import Discovery

            control = self.control
            discovery = Discovery(self.registry, lambda: control.config, control.one_set_at_a_time)
            self._discovery = control.discovery = discovery
            self._finds.set()

    def _join(self, config: Config) -> "Joined | None":
        """The cluster, where this balancer is in one.

        A program that replaces another one has what that one knew. Both are members until the other has
        ended, so it has a name of its own.
        """
        if config.cluster is None:
            return None
        from lb.cluster.joined import Joined
        from lb.cluster.wish_acts import noted_in

        control = self.control
        joined = Joined(
            self.registry,
            lambda: control.config,
            read_secret=self.cookie_keys.read,
            one_at_a_time=control.one_set_at_a_time,
            settled=self._settled,
            acting=noted_in(control.audit),
            suffix="" if self._inheritance is None else f"~{os.getpid()}",
            own=None if self._inheritance is None else self._inheritance.own,
        )
        if self._inheritance is not None:
            joined.known.set()
        control.cluster = joined
        return joined

    async def _settled(self) -> None:
        """What was decided is so in all processes that carry the traffic."""
        await self._refusals()

    async def _keep_finding(self) -> None:
        await self._finds.wait()
        assert self._discovery is not None
        await self._discovery.run()

    async def first_found(self) -> None:
        """Wait until each source of backends has said what there is, or has had its time for that."""
        if self._discovery is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_at_stop, nursery.cancel_scope)
            await self._discovery.first()
            nursery.cancel_scope.cancel()

    @property
    def waits_for_wishes(self) -> bool:
        """Whether the wishes of the cluster are not known yet, without which nobody is served."""
        return self._joined is not None and not self._joined.known.is_set()

    async def wishes_known(self) -> None:
        """Wait until the wishes of the cluster are known, where it is in one, or the balancer is to stop."""
        if self._joined is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_at_stop, nursery.cancel_scope)
            await self._joined.known.wait()
            nursery.cancel_scope.cancel()

    async def _end_at_stop(self, scope: trio.CancelScope) -> None:
        await self.stop_wished.wait()
        scope.cancel()

    @property
    def config(self) -> Config:
        """The current Config; a reload replaces it."""
        return self.control.config

    def _own_addresses(self) -> list[str]:
        """Where no name may lead: the admin side. What leads back to a listener is a loop, which gets 508."""
        return [self.config.admin.listen] if self.config.admin.enabled else []

    def _served(self) -> tuple[ServedNames, int] | None:
        """The names that listeners with TLS serve, and the port of the first; None without such listeners."""
        tls, listening = self.control.tls, self.control.tls_listening
        if tls is None or not listening:
            return None
        port = listening[0].rpartition(":")[2]
        return tls, int(port) if port.isdigit() else HTTPS_PORT

    def _fill_registry(self, config: Config) -> None:
        """Add the configured pools and backends, then apply the changes in the state file."""
        with self.registry.together():
            for name, pool in config.pools.items():
                try:
                    self.registry.add_pool(name, pool.settings)
                except ConfigError as exc:
                    raise ConfigError(f"{join('pools', name)}.{exc}") from exc
                except ValueError as exc:
                    raise ConfigError(f"{join('pools', name)}.policy: {exc}") from exc
                for spec in pool.backends:
                    self.registry.add(spec, name, source="config")
            saved = state_file.opened(config.state) if config.state else {}
            changes = saved if self._inheritance is None else self._inheritance.changes
            for sentence in state_file.apply(changes, self.registry):
                log.warning("state file", overtaken=sentence)
            self._fill_with_found(config)
        self.registry.subscribe(self._on_event, self._on_pool_event)

    def _fill_with_found(self, config: Config) -> None:
        """Go on with the backends that the program before has found, where their sources are still wanted."""
        names = {(name, each.name) for name, pool in config.pools.items() for each in pool.discover}
        for each in () if self._inheritance is None else self._inheritance.found:
            is_there = each.said.id in self.registry.backends
            is_hidden = each.said.id in self.registry.found.hidden.get(each.pool, {})
            if (each.pool, each.source) in names and not is_there and not is_hidden:
                self.registry.found.enter(each.said, self.registry.pools[each.pool], each.source, each.notice)

    def _on_event(self, event: Event) -> None:
        if event.kind in ("drained", "removed"):
            self._has_to_save |= not self._is_sources_doing(event.backend)
            self._has_left.set()
        self._change_log.changed(event)

    def _is_sources_doing(self, backend: Backend) -> bool:
        """Whether it leaves because its source says so, and no operator has said anything of it."""
        drain = backend.drain
        return (
            backend.said is not None and drain is not None and drain.leaves and not word_of(backend).is_said
        )

    def _on_pool_event(self, event: PoolEvent) -> None:
        if event.kind == "policy failed":
            if trio.current_time() < self._quiet_until:  # a policy may fail for every request
                return
            self._quiet_until = trio.current_time() + QUIET_SECONDS
        told(event.kind, f"pool {event.kind}", pool=event.pool.name, detail=event.detail)

    async def save(self) -> bool:
        """Write the runtime changes to the state file; False where none is configured, or it is another
        program's now.

        OSError where the file cannot be written. Calls are made one at a time, and wait for the end of a set
        that is being applied: the file never holds half of one.
        """
        path = self.config.state
        if not path or self.control.is_handing_over:
            return False
        async with self._saving:
            async with self.control.one_set_at_a_time:
                changes = await sliced(state_file.comparing(self.config.pools, self.registry))
            await trio.to_thread.run_sync(state_file.save, path, changes)
        return True

    async def stop_saving(self) -> None:
        """Nobody may change the wishes any more, nor is the state file written, once this returns."""
        self.control.is_handing_over = True
        async with self._saving:
            pass

    @property
    def handed(self) -> HandedListeners:
        """The listening sockets of a program that this one replaces."""
        return HandedListeners() if self._inheritance is None else self._inheritance.sockets

    def hand_over(self) -> None:
        """Another program serves: begin the graceful end."""
        self.control.handed_over.set()
        self.stop()

    def stop(self) -> None:
        """Begin the graceful end: `stop_wished` is set from now on."""
        self.control.stopping = True
        self.stop_wished.set()

    def tasks(self) -> Sequence[Callable[[], Awaitable[object]]]:
        """What runs in the background until it is cancelled."""
        audit = () if self._audit_file is None else (self._audit_file.run,)
        ours = self._keep_state, self._change_log.run, self._keep_finding, self.control.log_levels.run
        files = () if self.control.tls is None else (self.control.tls.run,)
        upkeep = () if self._upkeep is None else (self._upkeep.run,)
        joined = () if self._joined is None else (self._joined.run,)
        return self.names.run, self._probes.run, self._expiry.run, *ours, *audit, *files, *upkeep, *joined

    async def let_others_look(self) -> None:
        """Wait until whoever looks at /readyz has seen that it is 503, for `timeouts.shutdown_delay`.

        Where the balancer drains already, the delay counts from the beginning of the drain.
        """
        if self.control.handed_over.is_set():
            return  # it is another program that they ask
        drain, now = self.control.drain, trio.current_time()
        since = now if drain is None else drain.started
        await trio.sleep_until(max(now, since + self.config.timeouts.shutdown_delay))

    async def _keep_state(self) -> None:
        """When a drain has ended, write the state file, and forget pools that are empty and not configured.

        Other changes are saved by their request.
        """
        while True:
            await self._has_left.wait()
            self._has_left = trio.Event()
            self.registry.forget_pools(self.config.pools)
            if not self._has_to_save:
                continue
            self._has_to_save = False
            try:
                await self.save()
            except OSError as exc:
                log.error("state not saved", path=self.config.state, why=str(exc))
