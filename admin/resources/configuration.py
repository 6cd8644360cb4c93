"""/config: what we go by, whether another configuration would do, and reading the file again.

A body that is to be judged may come from anybody who may steer us, and they may still not run code here or
have files read; so what it names of both is not looked for, and the answer lists it as `unchecked`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
import trio
from quart import Response

from admin.changes.persistence import save
from admin.input import parameters
from admin.input.pool_input import placed
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import Problem, invalid
from admin.protocol.request_body import FORM
from admin.security.redaction import hidden_change
from admin.views.effective_config import as_toml, rows
from admin.views.times import timestamp
from lb.config.diff import Difference, spoken
from lb.config.loader import build, read_toml
from lb.config.reload import Reloader
from lb.config.reload_plan import plan
from lb.config.token_scope import Scope
from lb.control import Control
from lb.errors import ConfigError
from lb.settings.balancer_settings import Config

TOML = "application/toml"
MOST_DOTS = 500
"""Of one line: tomllib takes the square of a key's parts, and for 30,000 of them ten seconds."""


class Written(StrEnum):
    """How the configuration is written."""

    JSON = "json"
    TOML = "toml"


WRITTEN = Parameter(
    "format",
    "`toml` for a file that says the same",
    parameters.one_of(Written),
    {"type": "string", "enum": [*map(str, Written)]},
)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key, in seconds, bytes and shares, and its origin: default, file, flag, environment or runtime.

    Where it was changed at runtime, `configured` is what the configuration says, null where that is nothing.
    A backend is one value under its id, null where it was removed.
    """

    key: str
    value: Any
    origin: str
    configured: Any | msgspec.UnsetType = msgspec.UNSET


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """All that we go by; `file` is what it was read from at `loaded`, null where there was none."""

    file: str | None
    loaded: str | None
    revision: int
    items: list[Setting]


class Reloaded(Difference, frozen=True, kw_only=True):
    """What a reload has made different or, where `applied` is false, would.

    `settings` holds every key that changes beside pools and backends that come and go; `kept` what was
    changed at runtime and stays so; `needs_restart` the keys that stay as they are until the next start;
    `unchecked` those that name code or a secret that only a file may have us load. `source` is what was
    read.
    """

    applied: bool
    source: str
    persisted: bool | msgspec.UnsetType = msgspec.UNSET


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with the configuration."""
    views = Configurations(control)
    return (
        Operation(
            method="GET",
            path="/config",
            summary="every key, its value and who said so; ?format=toml for a file",
            handler=views.show,
            parameters=(WRITTEN,),
            answers={200: Configuration},
            media_types=(TOML,),
        ),
        Operation(
            method="POST",
            path="/config/validate",
            summary="what a reload would change; --data-binary @lb.toml judges that file",
            handler=views.validate,
            body_schemas={
                TOML: {"type": "string"},
                responses.JSON: {"type": "object"},
                FORM: {"type": "string"},
            },
            answers={200: Reloaded},
            problems=(409,),
            needs=Scope.READ,
        ),
        Operation(
            method="POST",
            path="/config/reload",
            summary="read the file again, as SIGHUP does: all of it, or nothing changes",
            handler=views.reload,
            posted_parameters=True,
            answers={200: Reloaded},
            problems=(409,),
        ),
    )


class Configurations:
    """The views."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._one_at_a_time = trio.CapacityLimiter(1)  # to judge takes the processor from the traffic

    async def show(self, call: Call) -> Response:
        shown = rows(self.control)
        if call.get(WRITTEN) is Written.TOML:
            return Response(as_toml(shown), content_type=f"{TOML}; charset=utf-8")
        items = [
            Setting(
                key=spoken(row.key),
                value=row.value,
                origin=row.origin,
                configured=row.configured if row.origin == "runtime" else msgspec.UNSET,
            )
            for row in shown
        ]
        return responses.json(self._configuration(items))

    def _configuration(self, items: list[Setting]) -> Configuration:
        loaded, reload = self.control.metrics.config_loaded_at, self.control.reload
        return Configuration(
            file=str(reload.source.file) if reload is not None and reload.source.file else None,
            loaded=timestamp(loaded) if loaded else None,
            revision=self.control.registry.revision,
            items=items,
        )

    async def validate(self, call: Call) -> Response:
        data: bytes = await call.request.get_data(cache=True, as_text=False, parse_form_data=False)
        async with self._one_at_a_time:
            return await (self._judged(data, call.request.mimetype) if data.strip() else self._would_reload())

    async def _judged(self, data: bytes, media_type: str) -> Response:
        tables = await trio.to_thread.run_sync(_tables, data, media_type)
        try:
            wanted = await trio.to_thread.run_sync(self._build, tables)
            planned = plan(self.control.config, wanted, self.control.registry, may_load=False)
        except ConfigError as exc:
            raise _problem(exc) from exc
        return responses.json(_view(planned.difference, "the body", applied=False))

    def _build(self, tables: Mapping[str, Any]) -> Config:
        reload = self.control.reload
        return build(tables, "the body") if reload is None else reload.source.build(tables)

    async def _would_reload(self) -> Response:
        reload = self._reloader()
        try:
            planned = plan(self.control.config, await reload.read(), self.control.registry)
        except ConfigError as exc:
            raise _problem(exc) from exc
        return responses.json(_view(planned.difference, str(reload.source), applied=False))

    async def reload(self, call: Call) -> Response:
        await call.take_posted_parameters()
        reload = self._reloader()
        try:
            difference = await reload()
        except ConfigError as exc:
            problem = _problem(exc)
            self.control.audit.failed(problem.status, str(exc))
            raise problem from exc
        persisted = await save(self.control)
        return responses.json(_view(difference, str(reload.source), applied=True, persisted=persisted))

    def _reloader(self) -> Reloader:
        if self.control.reload is None:
            raise Problem("conflict", "this balancer was not started from a file or flags that it could read")
        return self.control.reload


def _tables(data: bytes, media_type: str) -> Mapping[str, Any]:
    """The tables in a body, not checked yet. What curl calls a form is JSON if it begins like it, or TOML."""
    if media_type not in (TOML, responses.JSON, FORM):
        raise Problem(
            "unsupported-media-type", f"send {TOML} or {responses.JSON}, not {media_type or 'nothing'}"
        )
    try:
        if media_type == responses.JSON or (media_type == FORM and data.lstrip().startswith(b"{")):
            return msgspec.json.decode(data, type=dict[str, Any])
        if any(line.count(b".") > MOST_DOTS for line in data.splitlines()):
            raise Problem("malformed", f"the body has a line with more than {MOST_DOTS} dots")
        return read_toml(data.decode(), "the body")
    except (ConfigError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Problem("malformed", str(exc)) from exc
    except RecursionError as exc:
        raise Problem("malformed", "the body is nested too deeply") from exc


def _problem(error: ConfigError) -> Problem:
    """422 with each mistake and where it stands, or with the one sentence about what could not be read."""
    if not error.mistakes:
        return Problem("validation", str(error))
    problem = invalid(*map(placed, error.mistakes))
    problem.detail = str(error).partition("\n")[0]
    return problem


def _view(difference: Difference, source: str, *, applied: bool, persisted: bool | None = None) -> Reloaded:
    values = msgspec.structs.asdict(difference)
    for name in ("settings", "needs_restart"):
        values[name] = tuple(map(hidden_change, values[name]))
    kept = msgspec.UNSET if persisted is None else persisted
    return Reloaded(**values, source=source, applied=applied, persisted=kept)
