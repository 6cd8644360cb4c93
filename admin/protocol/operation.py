"""What can be asked: each operation with its parameters and answers, described where it is served.

The router, the check for unknown parameters, /openapi.json and the cheat sheet are all made from the same
operations, so none of them can know less than the others. An `Ask` is one request to one of them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from quart import Request, Response

from admin.protocol.problems import Mistake, Problem, invalid
from lb.config.token_scope import Scope

T = TypeVar("T")

FORM = "application/x-www-form-urlencoded"
JSON_TYPES = frozenset({"application/json", "application/merge-patch+json"})
FORM_FIELDS = 200
MAX_HINTS = 20
"""Nobody reads more of them, and to look for what was meant takes 20 us a word."""


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One parameter; `read` makes its value of text or JSON, ValueError says what it expected."""

    name: str
    says: str
    read: Callable[[object], T]
    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. `answers` maps each status to the type of its body, or to what it says.

    `fields` is the struct whose fields a body may have; with `posted_parameters` they may stand in the
    body as well as in the query. `streams` are the types of the events that a 200 goes on sending.
    `media` has the schemas of bodies in other formats, by their type; `texts` are the types of what a 200
    may be beside JSON of its own type. `problems` are the errors beside those that every operation may
    answer. `reach` is the scope of a token that may do this, where it is not the usual one of the method.
    """

    method: str
    path: str
    says: str
    view: Callable[..., Awaitable[Response]]
    answers: Mapping[int, Any]
    parameters: tuple[Parameter[Any], ...] = ()
    fields: Any = None
    posted_parameters: bool = False
    media: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    streams: tuple[type, ...] = ()
    is_open: bool = False
    reach: Scope | None = None

    @property
    def scope(self) -> Scope:
        """What a token must reach for this: without a word of its own, `read` for whoever only reads."""
        return self.reach or (Scope.ADMIN if self.writes else Scope.READ)

    @property
    def changes(self) -> bool:
        """It may change something; what a `read` token may POST does not."""
        return self.writes and self.scope is not Scope.READ

    @property
    def writes(self) -> bool:
        return self.method not in ("GET", "HEAD")


class Body(msgspec.Struct, frozen=True):
    """What a body held. In a form every value is text, so numbers may be written as text there."""

    value: object
    is_form: bool = False

    def fields(self) -> dict[str, object]:
        """The members of the object that the body must be."""
        if not isinstance(self.value, dict):
            raise invalid(Mistake(pointer="#", detail="expected an object"))
        return self.value


@dataclass(slots=True)
class Ask:
    """One request: its parameters, checked for unknown ones, and its body once it is read.

    `scope` is how far its token reaches.
    """

    operation: Operation
    request: Request
    scope: Scope = Scope.ADMIN
    values: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.request.args.to_dict(flat=False)
        hints = Hints()
        mistakes = [
            Mistake(parameter=name, detail="unknown parameter", hint=hints(name, self._known()))
            for name in given
            if name not in self._known()
        ]
        repeated = [name for name, values in given.items() if len(values) > 1]
        mistakes += [Mistake(parameter=name, detail="given more than once") for name in repeated]
        if mistakes:
            raise invalid(*mistakes)
        self.values.update({name: values[0] for name, values in given.items()})
        self._judge()

    def _judge(self) -> None:
        """422 for what cannot be read, even if nobody will ask for it."""
        for parameter in self.operation.parameters:
            self.get(parameter)

    def _known(self) -> list[str]:
        return [parameter.name for parameter in self.operation.parameters]

    def get(self, parameter: Parameter[T]) -> T | None:
        """The value of a parameter, None where it is not given; 422 where it cannot be read."""
        if parameter.name not in self.values:
            return None
        try:
            return parameter.read(self.values[parameter.name])
        except (ValueError, OverflowError) as exc:  # the latter: an integer beyond every float
            raise invalid(Mistake(parameter=parameter.name, detail=str(exc))) from exc

    def demand(self, scope: Scope, why: str) -> None:
        """403 unless the token reaches as far as what is asked for."""
        if not self.scope.includes(scope):
            raise beyond(scope, self.scope, why)

    async def body(self) -> Body:
        """The body as JSON or as a form; an empty one is an empty form, whatever it calls itself."""
        data: bytes = await self.request.get_data(cache=True, as_text=False, parse_form_data=False)
        if not data.strip():
            return Body({}, is_form=True)
        media_type = self.request.mimetype
        # curl -d '{...}' without a header calls itself a form
        if media_type in JSON_TYPES or (media_type == FORM and data.lstrip()[:1] in b"{["):
            return Body(_json(data))
        if media_type == FORM:
            return Body(_form(data), is_form=True)
        raise Problem("unsupported-media-type", f"{media_type or 'no Content-Type'} is not one of ours")

    async def take_posted_parameters(self) -> None:
        """Parameters from the body, as `curl -d wait=30s` sends them; those of the query win."""
        fields = (await self.body()).fields()
        if mistakes := unknown_fields("#", fields, self._known(), Hints()):
            raise invalid(*mistakes)
        asked, self.values = self.values, fields
        self._judge()
        self.values = {**fields, **asked}


def beyond(needed: Scope, given: Scope, what: str) -> Problem:
    """403 that says which scope would do."""
    return Problem("forbidden", f"{what} needs a token of scope {needed}; this one has {given}")


class Hints:
    """What was probably meant by unknown words: for the first MAX_HINTS of a request, then None."""

    def __init__(self) -> None:
        self._left = MAX_HINTS

    def __call__(self, word: str, known: list[str]) -> str | None:
        self._left -= 1
        return did_you_mean(word, known) if self._left >= 0 else None


def unknown_fields(at: str, names: Iterable[str], known: list[str], hints: Hints) -> list[Mistake]:
    """A mistake for each of the names that is none of these; `at` is the pointer of what they stand in."""
    return [
        Mistake(pointer=f"{at}/{escaped(name)}", detail="unknown field", hint=hints(name, known))
        for name in names
        if name not in known
    ]


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint for a word that is none of these."""
    if close := get_close_matches(word, known, n=1):
        return f'did you mean "{close[0]}"?'
    return f"there are: {', '.join(known)}" if known else "there are none"


def escaped(name: str) -> str:
    """One step of a JSON pointer (RFC 6901 section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _json(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Problem("malformed", str(exc)) from exc
    except RecursionError as exc:
        raise Problem("malformed", "JSON is nested too deeply") from exc


def _form(data: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS, errors="strict")
    except ValueError as exc:
        raise Problem("malformed", f"not a form: {exc}") from exc
    fields: dict[str, object] = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, _ in pairs if [name for name, _ in pairs].count(name) > 1)
        raise invalid(Mistake(pointer=f"#/{escaped(twice)}", detail="given more than once"))
    return fields
