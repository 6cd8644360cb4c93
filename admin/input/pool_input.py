"""From a merge patch (RFC 7396), in JSON or in a form, to the settings of a pool.

A setting that is missing keeps its value. Null is the default again; a feature without a default is then
off. Names and types are those of the structs in `lb.settings.pool_settings`, and the values are read by the
reader of the configuration file, so both accept the same notations.
"""

import json
import re
from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import msgspec

from admin.protocol.mistakes import Hints, Mistake, escaped, unknown_fields
from admin.protocol.problems import invalid
from admin.protocol.request_body import Body
from admin.security.redaction import HIDDEN
from lb.config.decode import Reader, told
from lb.settings.pool_settings import PoolSettings
from lb.settings.values import parse_duration, parse_size, positive_duration, positive_size

DEPTH = 3
"""The levels of the deepest setting: `probe.fields.X-Name`."""
NUMBER = re.compile(r"-?\d{1,15}(\.\d+)?", re.ASCII)
PLACE = re.compile(r'\.?("(?:[^"\\]|\\.)*"|[\w~-]+)|\[(\d+)\]')
IN_UNITS = (parse_duration, positive_duration, parse_size, positive_size)
"""The rules of values that may be text with a unit."""


def patched(settings: PoolSettings, body: Body) -> PoolSettings:
    """These settings with the patch in the body applied; 422 with every mistake in it otherwise."""
    mistakes: list[Mistake] = []
    fields = body.fields()
    patch = _nested(fields, mistakes) if body.is_form else fields
    patch = _known(patch, PoolSettings, "#", mistakes, Hints())
    reader = Reader()
    merged = _merged(told(settings), patch)
    read = cast("PoolSettings", reader.struct(PoolSettings, merged, ""))  # every field has a default
    mistakes += [*map(mistake_of, reader.mistakes), *_still_hidden(read)]
    if mistakes:
        raise invalid(*mistakes)
    return read


def _merged(table: Mapping[str, object], patch: Mapping[str, object], depth: int = 1) -> dict[str, object]:
    """RFC 7396 section 2. A value that comes back hidden, as it was shown, keeps its old value."""
    merged = dict(table)
    for name, value in patch.items():
        there = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and depth < DEPTH:
            merged[name] = _merged(there if isinstance(there, Mapping) else {}, value, depth + 1)
        elif value != HIDDEN or there is None:
            merged[name] = value
    return merged


def _still_hidden(settings: PoolSettings) -> list[Mistake]:
    """A mistake for each hidden value that has no old value here, as when it is sent to another pool."""
    names = [name for name, text in settings.probe.fields.items() if text == HIDDEN] if settings.probe else []
    detail = f"{HIDDEN} stands for a value that is there already, and there is none"
    return [Mistake(pointer=f"#/probe/fields/{escaped(name)}", detail=detail) for name in names]


def _known(
    patch: Mapping[str, object], struct: type[msgspec.Struct], at: str, mistakes: list[Mistake], hints: Hints
) -> dict[str, object]:
    """The patch without the fields that the struct has not; each of them is a mistake."""
    types = get_type_hints(struct)
    mistakes += unknown_fields(at, patch, list(types), hints)
    known = {name: value for name, value in patch.items() if name in types}
    for name, value in known.items():
        kind = _plain(types[name])
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            known[name] = _known(value, kind, f"{at}/{name}", mistakes, hints)
    return known


def mistake_of(sentence: str) -> Mistake:
    """The mistake in a sentence of the reader, `probe.fields."X y": what is wrong`, with a JSON pointer."""
    pointer, end = "#", 0
    while step := PLACE.match(sentence, end):
        name = step[2] or (json.loads(step[1]) if step[1].startswith('"') else step[1])
        pointer, end = f"{pointer}/{escaped(name)}", step.end()
    detail = sentence[end:].removeprefix(": ").partition(" - at $")[0]  # msgspec's own place in the value
    return Mistake(pointer=pointer, detail=detail)


def _plain(hint: object) -> Any:  # noqa: ANN401 - a type, or what stands for one
    """The type without its `| None`."""
    arguments = get_args(hint)
    return next(each for each in arguments if each is not NoneType) if NoneType in arguments else hint


# -- forms ---------------------------------------------------------------------------------------------


def _nested(fields: Mapping[str, object], mistakes: list[Mistake]) -> dict[str, object]:
    """The patch in a form, whose keys have dots: `ejection.consecutive=5`."""
    patch: dict[str, Any] = {}
    for name, text in fields.items():
        path = name.split(".", DEPTH - 1)
        table = _table(patch, path[:-1])
        if table is None or path[-1] in table:
            pointer = "#/" + "/".join(map(escaped, path))
            mistakes.append(Mistake(pointer=pointer, detail="is given as a whole and in parts"))
        else:
            table[path[-1]] = typed(str(text), _type_at(path))
    return patch


def _table(patch: dict[str, Any], path: list[str]) -> dict[str, Any] | None:
    """The table at this path, created where it is missing; None where the path has another value."""
    table: Any = patch
    for name in path:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return None
    return cast("dict[str, Any]", table)


def _type_at(path: list[str]) -> object:
    """The type of the setting at this path, None where there is no such setting."""
    kind: Any = PoolSettings
    for name in path:
        is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        kind = _plain(get_type_hints(kind).get(name)) if is_struct else None
    return kind


def typed(text: str, kind: object) -> object:
    """The value of a form's text where this type is wanted: null, a number, true, false or a list.

    Text that is none of them stays as it is, and the reader finds the mistake.
    """
    if text == "":
        return None
    if kind is bool:
        return {"true": True, "false": False}.get(text, text)
    if kind in (int, float) and NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    if get_origin(kind) is tuple:
        return [item.strip() for item in text.split(",")]
    return text


# -- in OpenAPI ----------------------------------------------------------------------------------------


def patch_of(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The struct of a patch for this struct: any field may be missing or null, or be text with a unit."""
    hints = get_type_hints(struct, include_extras=True)
    fields: list[Any] = [(name, _wanted(hint) | None, None) for name, hint in hints.items()]
    says = f"A merge patch (RFC 7396), in which null is the default again.\n\n{struct.__doc__}"
    return msgspec.defstruct(
        f"{struct.__name__}Patch", fields, namespace={"__doc__": says}, forbid_unknown_fields=True
    )


def _wanted(hint: object) -> Any:  # noqa: ANN401
    kind = _plain(hint)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return patch_of(kind)
    if get_origin(kind) is not Annotated:
        return kind
    plain, rule = get_args(kind)
    if get_origin(plain) is dict:
        return dict[str, str | None]  # null removes a field
    if get_origin(plain) is tuple:
        return int | str | tuple[int | str, ...]  # 503, "503" and "500-599", or several of them
    return plain | str if rule in IN_UNITS else plain


PoolPatch = patch_of(PoolSettings)
