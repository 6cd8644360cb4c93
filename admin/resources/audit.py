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
    """One act of an operator; `at` is when it began.

    `changes` has the old and the new value of each key that differs: a hundred at most, `untold` counts the
    rest, and texts are cut at 500 characters. `status` is that of the answer, null where the client had left
    before it, or where the act was a signal. `why` is the reason of a refusal, or of a reload that failed.
    `and_more` counts refusals of the same name within the second before, which have no entries of their own.
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
    """The newest acts first. The last 500 acts and the last 100 refusals are kept, by this process alone.

    What was before `remembered_since`, which is its start or the newest act that was dropped, may be
    forgotten. `file` is `admin.audit_file`, which has all acts; null without one. The program's log has them
    too.
    """

    items: list[AuditEntry]
    remembered_since: str
    file: str | None


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation. It needs the scope `admin`, for it shows what others have done."""

    async def show(call: Call) -> Response:
        limit = call.get(LIMIT) or DEFAULT_LIMIT
        since = max(control.wall(control.started), control.audit.dropped_until)
        answer = AuditList(
            items=[_view(each) for each in control.audit.newest()[:limit]],
            remembered_since=timestamp(since),
            file=control.config.admin.audit_file,
        )
        return responses.json(answer)

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
