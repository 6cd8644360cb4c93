"""/audit: who changed what, and who was refused."""

from typing import Any

import msgspec
from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.views.times import timestamp
from lb.config.token_scope import Scope
from lb.control import Control
from lb.observe.audit_trail import Entry

DEFAULT_LIMIT = 50
LIMIT = parameters.limit(DEFAULT_LIMIT, 1000)


class AuditEntry(msgspec.Struct, kw_only=True):
    """One act of an operator: `changes` has what it was and what it became of each key that differs.

    It is of the time when it began. Of more than a hundred changes `untold` are left out, and a text of more
    than 500 characters is cut. `status` is what was answered, null where the client had left by then, or was
    a signal. A refusal has `why`, as has a reload that failed, and in `and_more` how many of that name came
    before it within a second, of which nothing else is kept.
    """

    at: str
    who: str
    source: str
    operation: str
    target: str
    changes: dict[str, tuple[Any, Any]]
    untold: int
    request_id: str
    status: int | None
    why: str
    and_more: int


class AuditList(msgspec.Struct, kw_only=True):
    """The newest acts first. The last 500 are kept, and the last 100 refusals; the log has all acts."""

    items: list[AuditEntry]


def operations(control: Control) -> tuple[Operation, ...]:
    """It is for those who may do everything: it tells what the others do."""

    async def show(call: Call) -> Response:
        limit = call.get(LIMIT) or DEFAULT_LIMIT
        return responses.json(AuditList(items=[_view(each) for each in control.audit.newest()[:limit]]))

    return (
        Operation(
            method="GET",
            path="/audit",
            summary="who changed what, and who was refused; ?limit=50",
            handler=show,
            parameters=(LIMIT,),
            answers={200: AuditList},
            needs=Scope.ADMIN,
        ),
    )


def _view(entry: Entry) -> AuditEntry:
    return AuditEntry(**{**msgspec.structs.asdict(entry), "at": timestamp(entry.at)})
