"""Reloading `lb.toml` while the balancer runs, for SIGHUP (`lb.app`) and for the API.

First the file is read and checked in a thread; this is the only wait. Then the plan is made and applied
(`lb.config.reload_plan`) without an await in between, so no task sees half of it. A reload that fails has
changed nothing. Either way it is logged, counted and told to subscribers.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import structlog
import trio

from lb.config.admin_token import admin_token
from lb.config.diff import Difference
from lb.config.reload_plan import apply, plan
from lb.config.source import Key, Origin, Source
from lb.core.registry import Registry
from lb.errors import ConfigError
from lb.settings.balancer_settings import AccessLogSettings, Config

LONGEST_DETAIL = 500
Kind = Literal["reloaded", "not reloaded"]

log = structlog.get_logger()


class Reloadable(Protocol):
    """The running balancer, as far as a reload needs it; `lb.control.Control` is one."""

    config: Config
    registry: Registry

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


class Reloader:
    """Reads the configuration of one balancer again and applies it: call the object to reload.

    `adopt` is called with the new config after pools and backends have changed, so that the traffic uses its
    other settings too; `access_log` takes its own. `origins` says which keys of the current config come from
    the file and which from the flags.
    """

    def __init__(
        self,
        source: Source,
        control: Reloadable,
        adopt: Callable[[Config], None],
        access_log: Logs | None = None,
    ) -> None:
        self.source = source
        self.origins = source.origins(source.tables())
        self._control = control
        self._adopt = adopt
        self._access_log = access_log
        self._subscribers: list[Callable[[Kind, str], None]] = []
        self._one_at_a_time = trio.Lock()  # otherwise an old file, read slowly, could be applied last
        control.config_loaded()

    def subscribe(self, tell: Callable[[Kind, str], None]) -> None:
        """Call `tell` after each reload, with a summary or the first mistake. `tell` must not raise."""
        self._subscribers.append(tell)

    async def read(self) -> Config:
        """The config as the file has it now, not applied; ConfigError with what is wrong in it."""
        config, _ = await trio.to_thread.run_sync(self._read)
        return config

    def _read(self) -> tuple[Config, Mapping[Key, Origin]]:
        config, origins = self.source.read_with_origins()
        admin_token(config.admin)  # used only at the next start; a mistake in it should show now
        return config, origins

    async def __call__(self) -> Difference:
        """Read the file, apply it and say what has changed. After a ConfigError nothing has changed."""
        async with self._one_at_a_time:
            try:
                config, origins = await trio.to_thread.run_sync(self._read)
                if self._access_log is not None:
                    await trio.to_thread.run_sync(self._access_log.prepare, config.access_log)
                difference = self._apply(config)
            except ConfigError as exc:
                self._control.count_reload("failure")
                log.error("configuration not reloaded", source=str(self.source), why=str(exc))
                self._tell("not reloaded", _first(exc))
                raise
            self.origins = origins
            return difference

    def _apply(self, wanted: Config) -> Difference:
        planned = plan(self._control.config, wanted, self._control.registry)
        apply(planned, self._control.registry)
        self._control.set_config(planned.config, planned.difference)
        self._adopt(planned.config)
        if self._access_log is not None:
            self._access_log.adopt(planned.config.access_log)
        self._control.count_reload("success")
        self._control.config_loaded()
        log.info("configuration reloaded", source=str(self.source), **_logged(planned.difference))
        self._tell("reloaded", planned.difference.summary)
        return planned.difference

    def _tell(self, kind: Kind, detail: str) -> None:
        for tell in self._subscribers:
            tell(kind, detail)


def _first(error: ConfigError) -> str:
    """The first mistake, on one line."""
    text, *_ = (*error.mistakes, str(error))
    return text.partition("\n")[0][:LONGEST_DETAIL]


def _logged(difference: Difference) -> dict[str, object]:
    """The keys without their values, because a value may be a secret."""
    fields: dict[str, object] = {"summary": difference.summary}
    if difference.kept:
        fields["kept"] = [f"{each.key}: {each.why}" for each in difference.kept]
    if difference.needs_restart:
        fields["needs_restart"] = [each.key for each in difference.needs_restart]
    return fields
