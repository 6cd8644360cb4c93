"""Read backends from JSON or a form: every mistake is found, each with its place.

Types and names come from one struct, `BackendFields`; the rules about values are those of
`lb.settings.backend_spec`, which the configuration file obeys too. An answer of the API can be sent back: the
fields that only the API writes are ignored.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_type_hints

import msgspec

from admin.protocol.mistakes import Hints, Mistake, hint_for, unknown_fields
from admin.protocol.problems import invalid
from lb.core.backend import AdminState
from lb.settings.backend_spec import ID, MAX_WEIGHT, BackendSpec, SpecError
from lb.slices import sliced

LABEL = "labels."
SOME_URL = "http://127.0.0.1"
"""Stands for a URL that is missing or no text, so that the other fields are judged."""
CAPS = frozenset({"max_in_flight", "max_connections"})


# For /openapi.json alone: values are checked by the rules of `lb.core.backend`, and `TYPES` has these types
# without their constraints.
Id = Annotated[str, msgspec.Meta(pattern=f"^({ID.pattern})?$")]
Url = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(https?://[A-Za-z0-9._~%\[\]:-]+/?|unix:/[!-~]+)$",
        examples=["http://127.0.0.1:8084", "https://10.0.0.4", "unix:/run/app.sock"],
    ),
]
Weight = Annotated[int, msgspec.Meta(ge=0, le=MAX_WEIGHT)]
Cap = Annotated[int, msgspec.Meta(ge=1)]
ReadOnly = Annotated[Any, msgspec.Meta(description="Written by the API; ignored in a request.")]


class BackendFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a backend in a request."""

    id: Id = ""
    url: Url
    pool: str = "default"
    weight: Weight = 1
    max_in_flight: Cap | None = None
    max_connections: Cap | None = None
    backup: bool = False
    labels: dict[str, str] = {}
    admin_state: AdminState = AdminState.READY
    source: ReadOnly = None
    notice: ReadOnly = None
    missing_seconds: ReadOnly = None
    revision: ReadOnly = None
    status: ReadOnly = None
    persisted: ReadOnly = None


class BackendPatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An RFC 7396 merge patch: a field that is missing keeps its value, null is the default again."""

    id: Id | None = None
    url: Url | None = None
    pool: str | None = None
    weight: Weight | None = None
    max_in_flight: Cap | None = None
    max_connections: Cap | None = None
    backup: bool | None = None
    labels: dict[str, str | None] | None = None
    admin_state: AdminState | None = None
    source: ReadOnly = None
    notice: ReadOnly = None
    missing_seconds: ReadOnly = None
    revision: ReadOnly = None
    status: ReadOnly = None
    persisted: ReadOnly = None


class PoolFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole set of one pool; the bare list is accepted too."""

    items: list[BackendFields]
    totals: ReadOnly = None
    revision: ReadOnly = None
    persisted: ReadOnly = None


READ_ONLY = frozenset({"source", "notice", "missing_seconds", "revision", "status", "persisted"})
TYPES: Mapping[str, Any] = {
    name: kind for name, kind in get_type_hints(BackendFields).items() if name not in READ_ONLY
}
KNOWN = list(TYPES)
POOL_KNOWN = ["items"]
POOL_READ_ONLY = frozenset({"totals", "revision", "persisted"})
WHOLE_SET = {
    "anyOf": [
        {"$ref": "#/components/schemas/PoolFields"},
        {"type": "array", "items": {"$ref": "#/components/schemas/BackendFields"}},
    ]
}
SPEC = frozenset(BackendSpec.__struct_fields__)


class WantedBackend(NamedTuple):
    """A backend as the operator wants it. `pool` and `admin_state` are None where the request has none.

    `at` is the JSON pointer of the backend in the body.
    """

    spec: BackendSpec
    pool: str | None
    admin_state: AdminState | None
    at: str


class Known(NamedTuple):
    """What is known here: the names of the pools, and why no backend may have one of these URLs."""

    pools: Sequence[str]
    objections: Mapping[str, str]


def read_backend(fields: Mapping[str, object], known: Known, *, is_form: bool = False) -> WantedBackend:
    """The backend in these fields; 422 with every mistake in them otherwise."""
    hints = Hints()
    mistakes = [*_contradictions(fields, known, hints)]
    wanted = _read(fields, "#", mistakes, hints, is_form)
    if wanted is None or mistakes:
        raise invalid(*mistakes)
    return wanted


def _contradictions(fields: Mapping[str, object], known: Known, hints: Hints) -> Iterator[Mistake]:
    """What is wrong with fields that are right by themselves."""
    pool, url = fields.get("pool"), fields.get("url")
    if isinstance(pool, str) and pool not in known.pools:
        hint = hints(pool, [*known.pools])
        yield Mistake(pointer="#/pool", detail=f"there is no pool {pool!r}", hint=hint)
    if isinstance(url, str) and url in known.objections:
        yield Mistake(pointer="#/url", detail=known.objections[url])


async def read_backends(body: object, place: str = "#") -> list[WantedBackend]:
    """The backends of a whole set: of a list, or of the object that `GET /backends` answers; in slices.

    Each is taken out of the body as it is read: to free ten thousand at the end would be one long step.
    """
    return await sliced(_reading(body, place))


def _reading(body: object, place: str) -> Generator[None, None, list[WantedBackend]]:
    items, at = _items(body, place)
    result: list[WantedBackend] = []
    mistakes: list[Mistake] = []
    seen: set[str] = set()
    hints = Hints()
    for index, fields in enumerate(items):
        items[index] = None
        if not isinstance(fields, dict):
            mistakes.append(Mistake(pointer=f"{at}/{index}", detail="expected an object"))
        elif (wanted := _read(fields, f"{at}/{index}", mistakes, hints)) is not None:
            result.append(wanted)
            if wanted.spec.id in seen:
                detail = f"{wanted.spec.id!r} is there twice"
                mistakes.append(Mistake(pointer=f"{at}/{index}/id", detail=detail))
            seen.add(wanted.spec.id)
        yield
    if mistakes:
        raise invalid(*mistakes)
    return result


def read_patch(
    spec: BackendSpec, patch: Mapping[str, object], known: Known, *, is_form: bool = False
) -> WantedBackend:
    """The backend that a merge patch (RFC 7396) makes of this one; null means the default again."""
    patch = _with_nulls(_with_labels(patch)) if is_form else patch
    labels = patch.get("labels")
    if isinstance(labels, dict):
        both = {**spec.labels, **labels}
        patch = {**patch, "labels": {key: value for key, value in both.items() if value is not None}}
    after = {**{name: getattr(spec, name) for name in SPEC}, **patch}
    given = {name: value for name, value in after.items() if value is not None}
    return read_backend(given, known, is_form=is_form)


def known_pool(name: str, pools: list[str], pointer: str | None = None) -> str:
    """The name, if there is such a pool; 422 at the pointer, or at the parameter `pool`."""
    if name not in pools:
        parameter = None if pointer else "pool"
        detail = f"there is no pool {name!r}"
        hint = hint_for(name, pools)
        raise invalid(Mistake(pointer=pointer, parameter=parameter, detail=detail, hint=hint))
    return name


def _read(
    fields: Mapping[str, object], at: str, noted: list[Mistake], hints: Hints, is_form: bool = False
) -> WantedBackend | None:
    """The backend, or None where there is a mistake; all mistakes are added to `noted`."""
    fields = _with_labels(fields) if is_form else fields
    mistakes = unknown_fields(at, [name for name in fields if name not in READ_ONLY], KNOWN, hints)
    values: dict[str, Any] = {}
    for name in TYPES.keys() & fields.keys():
        try:
            values[name] = _value(name, fields[name], is_form)
        except msgspec.ValidationError as exc:
            mistakes.append(_mistyped(f"{at}/{name}", name, str(exc)))
    spec = _spec(values, "url" in fields, at, mistakes)
    if mistakes or spec is None:
        noted += sorted(mistakes, key=lambda mistake: mistake.pointer or "")
        return None
    return WantedBackend(spec, values.get("pool"), values.get("admin_state"), at)


def _spec(values: Mapping[str, Any], has_url: bool, at: str, mistakes: list[Mistake]) -> BackendSpec | None:
    """The spec by the rules of `lb.core.backend`, or None with the mistakes added to `mistakes`."""
    if not has_url:
        mistakes.append(Mistake(pointer=f"{at}/url", detail="is missing"))
    given = {name: values[name] for name in SPEC & values.keys()}
    try:
        spec = BackendSpec(**{"url": SOME_URL, **given}).checked()
    except SpecError as exc:
        for each in exc.mistakes:
            field, _, detail = each.partition(": ")
            mistakes.append(Mistake(pointer=f"{at}/{field}", detail=detail))
        return None
    return spec if "url" in given else None


def _value(name: str, value: object, is_form: bool) -> object:
    if is_form and name in CAPS and value == "":
        return None
    return msgspec.convert(value, TYPES[name], strict=not is_form)


def _mistyped(pointer: str, name: str, message: str) -> Mistake:
    if name == "admin_state":
        known = [state.value for state in AdminState]
        return Mistake(pointer=pointer, detail=f"expected one of {', '.join(known)}")
    sentence = message.partition(" - at ")[0].replace("`", "")
    return Mistake(pointer=pointer, detail=sentence[0].lower() + sentence[1:])


def _items(body: object, place: str) -> tuple[list[object], str]:
    """The list in the body, and its pointer."""
    if isinstance(body, list):
        return body, place
    if not isinstance(body, dict):
        raise invalid(Mistake(pointer="#", detail="expected a list of backends, or an object with `items`"))
    given = [name for name in body if name not in POOL_READ_ONLY]
    mistakes = unknown_fields("#", given, POOL_KNOWN, Hints())
    if not isinstance(body.get("items"), list):
        mistakes.append(Mistake(pointer="#/items", detail="expected a list of backends"))
    if mistakes:
        raise invalid(*mistakes)
    return body["items"], "#/items"


def _with_labels(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of a form, with `labels.zone=a` as an object `labels`."""
    flat = {name: value for name, value in fields.items() if not name.startswith(LABEL)}
    labels = {name.removeprefix(LABEL): fields[name] for name in fields.keys() - flat.keys()}
    return {**flat, "labels": labels} if labels else flat


def _with_nulls(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of a form, with null for each empty value: a form has no other null."""
    labels = fields.get("labels")
    nulled: dict[str, object] = {name: None if value == "" else value for name, value in fields.items()}
    return {**nulled, "labels": _with_nulls(labels)} if isinstance(labels, dict) else nulled
