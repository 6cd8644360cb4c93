"""/config: the configuration in effect, what another one would change, and reading the file again.

A body to be judged may come from any client, which may neither run code here nor have files read. So the code
and the files that the body names are not looked for, and the answer lists them as `unchecked`. So it is with
the file too, where the token may not reload it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
import trio
from quart import Response

from admin.changes.persistence import save
from admin.input import parameters
from admin.input.config_mistakes import of_config
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.long_json import Lists
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import Problem
from admin.protocol.request_body import FORM
from admin.security.redaction import hidden_change
from admin.views.effective_config import Row, lines, rows
from admin.views.times import timestamp
from lb.config.diff import Difference, parts, spoken
from lb.config.loader import build, decoded, read_toml
from lb.config.reload import Reloader, specs
from lb.config.reload_plan import planning
from lb.config.token_scope import Scope
from lb.control import Control
from lb.errors import ConfigError, NotEverywhere
from lb.settings.balancer_settings import Config
from lb.slices import freed, listed, sliced

TOML = "application/toml"
MOST_DOTS = 500
"""In one line: tomllib's time grows with the square of a key's parts, to seconds for 30,000 of them."""


class Written(StrEnum):
    """The format of the configuration."""

    JSON = "json"
    TOML = "toml"


WRITTEN = Parameter(
    "format",
    "`toml` for a file that says the same",
    parameters.one_of(Written),
    {"type": "string", "enum": [*map(str, Written)]},
)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key with its value (durations in seconds, sizes in bytes) and its origin.

    The origin is default, file, flag, environment or runtime. Of a key changed at runtime, `configured` is
    the value in the configuration, null where it has none. A backend is one value under its id, null where it
    was removed.
    """

    key: str
    value: Any
    origin: str
    configured: Any | msgspec.UnsetType = msgspec.UNSET


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in effect; `file`, null where there is none, was read at `loaded`.

    It holds every change up to `revision`, and perhaps later ones.
    """

    file: str | None
    loaded: str | None
    revision: int
    items: list[Setting]


class Reloaded(Difference, frozen=True, kw_only=True):
    """What a reload has changed or, where `applied` is false, would change.

    `settings` has each changed key beside pools and backends that are added or removed; `kept` has what was
    changed at runtime and stays; `needs_restart` has the keys that keep their values until the next start;
    `unchecked` has the keys that name code or a file, which are loaded only from the configuration file, and
    only for a token that may reload it. `source` is what was read.
    """

    applied: bool
    source: str
    persisted: bool | msgspec.UnsetType = msgspec.UNSET


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with the configuration."""
    handlers = Configurations(control)
    return (
        Operation(
            method="GET",
            path="/config",
            summary="every key, its value and who said so; ?format=toml for a file",
            handler=handlers.show,
            parameters=(WRITTEN,),
            answers={200: Configuration},
            media_types=(TOML,),
        ),
        Operation(
            method="POST",
            path="/config/validate",
            summary="what a reload would change; --data-binary @lb.toml judges that file",
            handler=handlers.validate,
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
            handler=handlers.reload,
            posted_parameters=True,
            answers={200: Reloaded},
            problems=(409,),
        ),
    )


class Configurations:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._one_at_a_time = trio.CapacityLimiter(1)  # judging takes CPU from the traffic

    async def show(self, call: Call) -> Response:
        revision = self.control.registry.revision
        shown = await listed(rows(self.control))
        if call.get(WRITTEN) is Written.TOML:
            text = await listed(f"{line}\n".encode() for line in lines(shown))
            answer = responses.long(text, f"{TOML}; charset=utf-8")
        else:
            items = map(_setting, shown)
            answer = await responses.long_json(self._configuration(revision), {"items": items})
        await freed(shown)
        return answer

    def _configuration(self, revision: int) -> Configuration:
        loaded, reload = self.control.metrics.config_loaded_at, self.control.reload
        return Configuration(
            file=str(reload.source.file) if reload is not None and reload.source.file else None,
            loaded=timestamp(loaded) if loaded else None,
            revision=revision,
            items=[],
        )

    async def validate(self, call: Call) -> Response:
        data: bytes = await call.request.get_data(cache=True, as_text=False, parse_form_data=False)
        async with self._one_at_a_time:
            if data.strip():
                return await self._judged(data, call.request.mimetype)
            return await self._would_reload(may_load=call.scope.includes(Scope.ADMIN))

    async def _judged(self, data: bytes, media_type: str) -> Response:
        tables = await trio.to_thread.run_sync(_tables, data, media_type)
        try:
            wanted = await trio.to_thread.run_sync(self._build, tables)
            difference = await self._difference(wanted, may_load=False)
        except ConfigError as exc:
            raise of_config(exc) from exc
        answer = await _answer(await _view(difference, "the body", applied=False))
        left = specs(wanted), parts(difference)
        del wanted, difference
        await freed(*left)
        return answer

    async def _difference(self, wanted: Config, *, may_load: bool) -> Difference:
        return await _difference(self.control, wanted, may_load=may_load)

    def _build(self, tables: Mapping[str, Any]) -> Config:
        reload = self.control.reload
        return build(tables, "the body") if reload is None else reload.source.build(tables)

    async def _would_reload(self, *, may_load: bool) -> Response:
        """What a reload would change. Code that the file names is imported for who may reload alone."""
        reload = self._reloader()
        try:
            config = await reload.read(may_load=may_load)
            difference = await self._difference(config, may_load=may_load)
        except ConfigError as exc:
            raise of_config(await trio.to_thread.run_sync(reload.source.located, exc)) from exc
        answer = await _answer(await _view(difference, str(reload.source), applied=False))
        left = specs(config), parts(difference)
        del config, difference
        await freed(*left)
        return answer

    async def reload(self, call: Call) -> Response:
        await call.take_posted_parameters()
        reload = self._reloader()
        try:
            difference = await reload()
        except ConfigError as exc:
            problem = of_config(exc)
            self.control.audit.failed(problem.status, str(exc))
            raise problem from exc
        except NotEverywhere as exc:
            await save(self.control)
            raise Problem("not-everywhere", str(exc)) from exc
        persisted = (await save(self.control)).is_kept
        view = await _view(difference, str(reload.source), applied=True, persisted=persisted)
        answer = await _answer(view)
        left = parts(difference)
        del difference, view
        await freed(left)
        return answer

    def _reloader(self) -> Reloader:
        if self.control.reload is None:
            raise Problem("conflict", "this balancer was not started from a file or flags that it could read")
        return self.control.reload


async def would_reload(control: Control) -> Reloaded | None:
    """What the file would change now; None without a file. ConfigError where it has a mistake."""
    if control.reload is None:
        return None
    difference = await _difference(control, await control.reload.read(), may_load=False)
    return await _view(difference, str(control.reload.source), applied=False)


async def _difference(control: Control, wanted: Config, *, may_load: bool) -> Difference:
    planned = planning(control.config, wanted, control.registry, may_load=may_load)
    return (await sliced(planned)).difference


def _setting(row: Row) -> Setting:
    configured = row.configured if row.origin == "runtime" else msgspec.UNSET
    return Setting(key=spoken(row.key), value=row.value, origin=row.origin, configured=configured)


def _tables(data: bytes, media_type: str) -> Mapping[str, Any]:
    """The tables in a body, not checked yet. A form, the default of curl, is JSON if it begins with {."""
    if media_type not in (TOML, responses.JSON, FORM):
        raise Problem(
            "unsupported-media-type", f"send {TOML} or {responses.JSON}, not {media_type or 'nothing'}"
        )
    try:
        if media_type == responses.JSON or (media_type == FORM and data.lstrip().startswith(b"{")):
            return msgspec.json.decode(data, type=dict[str, Any])
        if any(line.count(b".") > MOST_DOTS for line in data.splitlines()):
            raise Problem("malformed", f"the body has a line with more than {MOST_DOTS} dots")
        return read_toml(decoded(data, "the body"), "the body")
    except (ConfigError, msgspec.DecodeError) as exc:
        raise Problem("malformed", str(exc)) from exc
    except RecursionError as exc:
        raise Problem("malformed", "the body is nested too deeply") from exc


async def _view(
    difference: Difference, source: str, *, applied: bool, persisted: bool | None = None
) -> Reloaded:
    """The difference, with secrets hidden."""
    values = msgspec.structs.asdict(difference)
    for name in ("settings", "needs_restart"):
        values[name] = tuple(await listed(map(hidden_change, values[name])))
    kept = msgspec.UNSET if persisted is None else persisted
    return Reloaded(**values, source=source, applied=applied, persisted=kept)


def long_lists(reloaded: Reloaded, above: str = "") -> Lists:
    """Those of its lists that may have thousands of items; `above` is the path to it, with a dot."""
    backends = reloaded.backends
    return {
        f"{above}backends.added": backends.added,
        f"{above}backends.changed": backends.changed,
        f"{above}backends.removed": backends.removed,
        f"{above}kept": reloaded.kept,
    }


async def _answer(reloaded: Reloaded) -> Response:
    return await responses.long_json(reloaded, long_lists(reloaded))
