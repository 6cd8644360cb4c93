"""One call of an operation: the request, with its parameters checked and read."""

from dataclasses import dataclass, field
from typing import TypeVar

from quart import Request

from admin.protocol.mistakes import Hints, Mistake, unknown_fields
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import invalid
from admin.protocol.request_body import Body, read_body
from lb.config.token_scope import Scope

T = TypeVar("T")

MOST_PARAMETERS = 500
"""Of a query that is read: anybody may be let read, and to read thousands takes long."""


@dataclass(slots=True)
class Call:
    """One request to one operation; `scope` is that of its token.

    To make one checks the query: 422 for parameters that are unknown, repeated or cannot be read.
    """

    operation: Operation
    request: Request
    scope: Scope = Scope.ADMIN
    values: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.request.query_string.count(b"&") >= MOST_PARAMETERS:
            raise invalid(Mistake(detail=f"the query has more than {MOST_PARAMETERS} parameters"))
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
        self._check_values()

    def _check_values(self) -> None:
        """422 for a value that cannot be read, even if the handler would not ask for it."""
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

    async def body(self) -> Body:
        """The body as JSON or as a form."""
        return await read_body(self.request)

    async def take_posted_parameters(self) -> None:
        """Take parameters from the body too, as `curl -d wait=30s` sends them; those of the query win."""
        fields = (await self.body()).fields()
        if mistakes := unknown_fields("#", fields, self._known(), Hints()):
            raise invalid(*mistakes)
        queried, self.values = self.values, fields
        self._check_values()
        self.values = {**fields, **queried}
