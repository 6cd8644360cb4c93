"""Reloading `lb.toml` while the balancer runs, for SIGHUP (`lb.process`) and for the API.

First the file is read and checked in a thread, and its routes are made there. Then the plan is made and
applied (`lb.config.reload_plan`), both in slices, so that ten thousand backends do not hold the event loop.
Where an operator has changed something while the plan was made, it is made again. A reload that fails has
changed nothing; one that has begun to be applied is applied to its end. Either way it is logged, counted and
told to subscribers.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol

import structlog
import trio

from lb.config.admin_token import admin_token
from lb.config.config_source import ConfigSource, Key, Origin
from lb.config.diff import Difference
from lb.config.reload_plan import Plan, applying, plan, planning
from lb.config.tls_check import check_backend_files
from lb.core.registry import Registry
from lb.core.routes import Routes
from lb.errors import ConfigError, NotEverywhere
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import AccessLogSettings, Config, PoolConfig
from lb.slices import freed, made, sliced, to_the_end

LONGEST_DETAIL = 500
MOST_LOGGED = 100
"""Of the backends that keep what was changed at runtime; these may be thousands."""
PLANS = 5
"""The last one, after so many that were out of date, is made at once."""
Kind = Literal["reloaded", "not reloaded"]
Pools = Mapping[str, PoolConfig]

log = structlog.get_logger()


class Reloadable(Protocol):
    """The running balancer, as far as a reload needs it; `lb.control.Control` is one."""

    config: Config
    registry: Registry
    one_set_at_a_time: trio.Lock

    def set_config(self, config: Config, difference: Difference) -> None:
        """Make this the current config, and tell the audit what is different."""
        ...

    def count_reload(self, result: Literal["success", "failure"]) -> None: ...

    def config_loaded(self) -> None:
        """Note that a config was read without a mistake just now."""
        ...


class Logs(Protocol):
    """The access log, as far as a reload needs it (`lb.observe.access_log`)."""

    def prepare(self, settings: AccessLogSettings) -> None:
        """Open what these settings need. In a thread; ConfigError where it cannot be opened."""
        ...

    def adopt(self, settings: AccessLogSettings) -> None:
        """Use these settings from now on. It does not fail."""
        ...


class Certificates(Protocol):
    """TLS with clients, as far as a reload needs it (`lb.certificate_files.termination`)."""

    def prepare(self, config: Config) -> None:
        """Read the files that this config names. In a thread; ConfigError where one cannot be used."""
        ...

    def check(self, config: Config) -> None:
        """As `prepare`, but nothing is kept."""
        ...

    def adopting(self, config: Config) -> Iterator[None]:
        """Serve what was prepared, in steps. It does not fail."""
        ...


def unread(_pools: Pools) -> Iterator[None]:
    """What becomes of the pools where nobody has to read them before they are used."""
    yield from ()


async def by_all() -> Sequence[str]:
    """What there is to be waited for where one process does all: nothing, and nothing was refused."""
    await trio.lowlevel.checkpoint()
    return ()


class Reloader:
    """Reads the configuration of one balancer again and applies it: call the object to reload.

    `adopt` is called with the new config and its routes once new backends are there, and before others leave,
    so that the traffic uses its other settings too; `access_log` and `certificates` take their own.
    `read_pools` gets the pools of the new config before all that, and may take a step for each backend.
    `refusals` waits until all processes have applied what was decided, and says who could not. `origins` says
    which keys of the current config come from the file and which from the flags.
    """

    def __init__(
        self,
        source: ConfigSource,
        control: Reloadable,
        adopt: Callable[[Config, Routes], None],
        access_log: Logs | None = None,
        read_pools: Callable[[Pools], Iterator[None]] = unread,
        certificates: Certificates | None = None,
        refusals: Callable[[], Awaitable[Sequence[str]]] = by_all,
    ) -> None:
        self.source = source
        self.origins = source.origins(source.tables())
        self._control = control
        self._adopt = adopt
        self._access_log = access_log
        self._read_pools = read_pools
        self._certificates = certificates
        self._refusals = refusals
        self._subscribers: list[Callable[[Kind, str], None]] = []
        self._one_at_a_time = trio.Lock()  # otherwise an old file, read slowly, could be applied last
        control.config_loaded()

    def subscribe(self, tell: Callable[[Kind, str], None]) -> None:
        """Call `tell` after each reload, with a summary or the first mistake. `tell` must not raise."""
        self._subscribers.append(tell)

    async def read(self, *, may_load: bool = False) -> Config:
        """The config as the file has it now, not applied; ConfigError with what is wrong in it.

        The files of certificates that it names are read where `may_load` is set.
        """
        try:
            config, _ = await trio.to_thread.run_sync(self._read)
            if may_load:
                await trio.to_thread.run_sync(check_backend_files, config)
                if self._certificates is not None:
                    await trio.to_thread.run_sync(self._certificates.check, config)
        except ConfigError as exc:
            raise await trio.to_thread.run_sync(self.source.located, exc) from None
        return config

    def _read(self) -> tuple[Config, Mapping[Key, Origin]]:
        config, origins = self.source.read_with_origins()
        admin_token(config.admin)  # used only at the next start; a mistake in it should show now
        return config, origins

    async def __call__(self) -> Difference:
        """Read the file, apply it and say what has changed. After a ConfigError nothing has changed.

        NotEverywhere where it is applied, but not in all workers.
        """
        async with self._one_at_a_time:
            try:
                config, origins = await trio.to_thread.run_sync(self._read)
                routes = await trio.to_thread.run_sync(_routes, config)
                if self._access_log is not None:
                    await trio.to_thread.run_sync(self._access_log.prepare, config.access_log)
                await trio.to_thread.run_sync(check_backend_files, config)
                if self._certificates is not None:
                    await trio.to_thread.run_sync(self._certificates.prepare, config)
                await sliced(made(self._read_pools(config.pools)))
                async with self._control.one_set_at_a_time:
                    difference = await self._apply(config, routes)
            except ConfigError as exc:
                error = await trio.to_thread.run_sync(self.source.located, exc)
                self._control.count_reload("failure")
                log.error("configuration not reloaded", source=str(self.source), why=str(error))
                self._tell("not reloaded", error.first[:LONGEST_DETAIL])
                raise error from None
            self.origins = origins
            await self._tell_of(difference)
            return difference

    async def _tell_of(self, difference: Difference) -> None:
        """Say that it is applied, and where not."""
        refusals = await self._refusals()
        self._control.count_reload("failure" if refusals else "success")
        log.info("configuration reloaded", source=str(self.source), **_logged(difference))
        if not refusals:
            self._tell("reloaded", difference.summary)
            return
        why = "; ".join(refusals)
        log.error("configuration not reloaded everywhere", source=str(self.source), why=why)
        self._tell("not reloaded", why[:LONGEST_DETAIL])
        raise NotEverywhere(why)

    async def _apply(self, wanted: Config, routes: Routes) -> Difference:
        planned = await self._planned(wanted)
        switch, before = partial(self._switch_to, planned, routes), specs(self._control.config)
        await to_the_end(made(applying(planned, self._control.registry, switch)))
        if self._certificates is not None:
            await to_the_end(made(self._certificates.adopting(planned.config)))
        self._control.config_loaded()
        await freed(before)
        return planned.difference

    async def _planned(self, wanted: Config) -> Plan:
        """A plan for the registry as it is now; no await follows before its first step."""
        registry = self._control.registry
        for _ in range(PLANS - 1):
            revision = registry.revision
            planned = await sliced(planning(self._control.config, wanted, registry))
            if registry.revision == revision:
                return planned
        return plan(self._control.config, wanted, registry)

    def _switch_to(self, planned: Plan, routes: Routes) -> None:
        self._control.set_config(planned.config, planned.difference)
        self._adopt(planned.config, routes)
        if self._access_log is not None:
            self._access_log.adopt(planned.config.access_log)

    def _tell(self, kind: Kind, detail: str) -> None:
        for tell in self._subscribers:
            tell(kind, detail)


def specs(config: Config) -> list[BackendSpec]:
    """The specs of all backends: to drop the config, and then have these `freed`, holds the loop briefly."""
    return [spec for pool in config.pools.values() for spec in pool.backends]


def _routes(config: Config) -> Routes:
    return Routes(config.routes, path_policy=config.path_policy)


def _logged(difference: Difference) -> dict[str, object]:
    """The keys without their values, because a value may be a secret; the summary counts all of `kept`."""
    fields: dict[str, object] = {"summary": difference.summary}
    if difference.kept:
        fields["kept"] = [f"{each.key}: {each.why}" for each in difference.kept[:MOST_LOGGED]]
    if difference.needs_restart:
        fields["needs_restart"] = [each.key for each in difference.needs_restart]
    return fields
