"""Reading the configuration again while the balancer runs: for SIGHUP, and for whoever asks the API.

Everything that waits comes first (the file is read and judged in a thread). What follows, from the plan to
the last change, is plain code that nothing interleaves. A reload that fails has changed nothing; either way
it is logged and counted, and whoever asked for it hears of it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import structlog
import trio

from lb.config.admin_token import admin_token
from lb.config.reload_plan import apply, plan
from lb.config.settings import Config
from lb.errors import ConfigError
from lb.observe.audit_trail import LONGEST_TEXT, Act

if TYPE_CHECKING:
    from lb.config.diff import Difference
    from lb.config.source import Key, Origin, Source
    from lb.control import Control

Kind = Literal["reloaded", "not reloaded"]

log = structlog.get_logger()


class Reloader:
    """One balancer's way to another configuration; called, it reloads.

    `adopt` makes the traffic go by what is in the configuration beside pools and backends. `origins` says
    which keys of the one that we go by stand in the file, and which among the flags.
    """

    def __init__(self, source: "Source", control: "Control", adopt: Callable[[Config], None]) -> None:
        self.source = source
        self.origins = source.origins(source.tables())
        self._control = control
        self._adopt = adopt
        self._subscribers: list[Callable[[Kind, str], None]] = []
        self._one_at_a_time = trio.Lock()  # or an old file, read slowly, could win over a new one
        control.metrics.config_loaded_at = control.wall(trio.current_time())

    def subscribe(self, tell: Callable[[Kind, str], None]) -> None:
        """Call `tell` after each reload, with what has changed or the first mistake; it never raises."""
        self._subscribers.append(tell)

    async def read(self) -> Config:
        """The configuration as it stands in the file now; ConfigError with what is wrong in it."""
        config, _ = await trio.to_thread.run_sync(self._read)
        return config

    def _read(self) -> "tuple[Config, Mapping[Key, Origin]]":
        config, origins = self.source.read_with_origins()
        admin_token(config.admin)  # only a restart takes it on, but that should not fail then
        return config, origins

    async def __call__(self) -> "Difference":
        """Go by the file as it is now, and say what that has changed; ConfigError, and nothing has."""
        async with self._one_at_a_time:
            try:
                config, origins = await trio.to_thread.run_sync(self._read)
                difference = self._go_by(config)
            except ConfigError as exc:
                self._control.metrics.config_reloads["failure"] += 1
                log.error("configuration not reloaded", source=str(self.source), why=str(exc))
                self._tell("not reloaded", _first(exc))
                raise
            self.origins = origins
            return difference

    def _go_by(self, wanted: Config) -> "Difference":
        control = self._control
        planned = plan(control.config, wanted, control.registry)
        apply(planned, control.registry)
        self._tell_audit(planned.difference)
        control.config = planned.config
        self._adopt(planned.config)
        control.metrics.config_reloads["success"] += 1
        control.metrics.config_loaded_at = control.wall(trio.current_time())
        log.info("configuration reloaded", source=str(self.source), **_told(planned.difference))
        self._tell("reloaded", planned.difference.summary)
        return planned.difference

    def _tell(self, kind: Kind, detail: str) -> None:
        for tell in self._subscribers:
            tell(kind, detail)

    def _tell_audit(self, difference: "Difference") -> None:
        """Of pools it hears from the registry."""
        for each in difference.settings:
            if not each.key.startswith("pools."):
                self._control.audit.changed(each.key, each.before, each.after)

    async def on_signal(self) -> None:
        """Reload, and keep what follows from it in the state file; whatever fails is logged and no more."""
        act = Act(who="signal", source="SIGHUP", operation="reload")
        try:
            with self._control.audit.act(act):
                await self()
            self._control.audit.note(act)
            await self._control.save()
        except ConfigError as exc:
            self._control.audit.note(act, why=str(exc))
        except OSError as exc:
            log.error("state not saved", path=self._control.config.state, why=str(exc))
        except Exception:
            log.exception("bug in a reload")


def _first(error: ConfigError) -> str:
    """The first mistake, in a line."""
    text, *_ = (*error.mistakes, str(error))
    return text.partition("\n")[0][:LONGEST_TEXT]


def _told(difference: "Difference") -> dict[str, object]:
    """For the log: keys without their values, which may be secrets."""
    told: dict[str, object] = {"summary": difference.summary}
    if difference.kept:
        told["kept"] = [f"{each.key}: {each.why}" for each in difference.kept]
    if difference.needs_restart:
        told["needs_restart"] = [each.key for each in difference.needs_restart]
    return told
