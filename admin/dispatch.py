"""One request to one operation: check the scope of its token, call the handler, record the act.

Before a handler that shows numbers, the workers are asked for theirs, where there are several.
"""

from collections.abc import Sequence

from quart import Request, Response, g

from admin.changes.persistence import TOO_LATE
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from admin.protocol.responses import DRY_RUN_FIELD
from admin.security.authentication import peer
from admin.security.authorization import check_scope
from admin.security.keyring import ANONYMOUS_READER
from lb.config.tokens import Token
from lb.control import Control
from lb.observe.audit_trail import Act
from lb.slices import freed


async def dispatched(
    control: Control, operation: Operation, request: Request, path: Sequence[str]
) -> Response:
    """The answer of the operation's handler; `path` has the values of the path's parameters.

    403, which the audit records, where the scope of the token is too small.
    """
    token: Token = g.get("token") or ANONYMOUS_READER
    try:
        check_scope(operation, token)
    except Problem as exc:
        raise refused(control, request, exc) from None
    if operation.counts:
        await control.workers.refresh()
    call = Call(operation, request, token.scope)
    if operation.changes and control.is_handing_over:
        raise Problem("conflict", TOO_LATE)
    if not operation.changes:
        return await operation.handler(call, *path)
    called = f"{operation.method} {operation.path}"
    act = Act(who=token.name, source=peer(request), operation=called, request_id=g.request_id)
    act.target = path[0] if path else ""
    return await _audited(control, act, call, path)


async def _audited(control: Control, act: Act, call: Call, path: Sequence[str]) -> Response:
    """The handler's answer, with the act in the audit.

    Recorded is every act that succeeded, and every act that has changed something, whatever its answer was
    and even if the client had left before. A dry run is no act.
    """
    status, is_done, why = None, False, ""
    try:
        with control.audit.act(act):
            response = await call.operation.handler(call, *path)
        status, is_done = response.status_code, DRY_RUN_FIELD not in response.headers
        return response
    except Problem as exc:
        status, why, is_done = exc.status, str(exc), exc.slug == "not-everywhere"
        if exc.slug == "forbidden":
            refused(control, call.request, exc)
        raise
    except Exception:
        status = 500  # a mistake of ours; the error handler logs it
        raise
    finally:
        if is_done or act.count:
            control.audit.note(act, status, why)
        await freed(act.backends)


def refused(control: Control, request: Request, problem: Problem) -> Problem:
    """The same problem, once the refusal is in the audit, which repeats no path that we do not serve."""
    token: Token = g.get("token") or ANONYMOUS_READER
    rule = request.url_rule
    called = "no such path" if rule is None else f"{request.method} {_operation_path(rule.rule)}"
    act = Act(who=token.name, source=peer(request), operation=called, request_id=g.request_id)
    control.audit.refused(act, problem.status, str(problem))
    return problem


def _operation_path(rule: str) -> str:
    """The path as the operation has it, so acts and refusals are found by the same words."""
    return rule.replace("<", "{").replace(">", "}")
