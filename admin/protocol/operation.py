"""What can be asked of the API: each operation with its parameters, its bodies and its answers.

Each resource describes its operations beside the code that serves them. The routes, the check for unknown
parameters, /openapi.json and the cheat sheet are all made from these descriptions, so they cannot disagree.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from quart import Response

from lb.config.token_scope import Scope

T = TypeVar("T")

PLACE = re.compile(r"\{(\w+)\}")
"""The place of a parameter in a path."""

Handler = Callable[..., Awaitable[Response]]
"""Called with a `Call` and the parameters of the path, in their order."""


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One parameter. `read` makes its value of text or JSON; its ValueError says what was expected."""

    name: str
    description: str
    read: Callable[[object], T]
    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path.

    `answers` maps each status to the type of its body (or a union of types), or to a sentence about it.
    `media_types` are those that a 200 may have beside JSON of that type, and `event_types` the structs that
    a 200 sends as server-sent events. `problems` are the statuses of errors that not every operation has.

    A body is described in one of three ways: `body_type` is the struct whose fields it may have,
    `posted_parameters` says that the parameters may stand in it, `body_schemas` has a schema for each media
    type.

    An operation that `counts` shows numbers of the traffic: workers are asked for theirs first.
    `is_open` operations need no token. `needs` is the scope that a token must have, where it is not the
    usual one of the method.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    answers: Mapping[int, Any]
    parameters: tuple[Parameter[Any], ...] = ()
    body_type: Any = None
    posted_parameters: bool = False
    body_schemas: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    media_types: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    event_types: tuple[type, ...] = ()
    counts: bool = False
    is_open: bool = False
    needs: Scope | None = None

    @property
    def path_parameters(self) -> list[str]:
        """The names of the parameters in the path, in their order."""
        return PLACE.findall(self.path)

    @property
    def scope(self) -> Scope:
        """The scope that a token must have: without `needs` it is `read` for GET, `admin` for the rest."""
        return self.needs or (Scope.ADMIN if self.writes else Scope.READ)

    @property
    def changes(self) -> bool:
        """Whether it may change something. A POST that a `read` token may send only asks."""
        return self.writes and self.scope is not Scope.READ

    @property
    def writes(self) -> bool:
        """Whether its method is one for changes."""
        return self.method not in ("GET", "HEAD")
