"""One request to one operation: may its token do that, and if it changes something, the audit hears of it."""

from collections.abc import Mapping

from quart import Request, Response, g

from admin.protocol.operation import Ask, Operation, beyond
from admin.protocol.problems import Problem
from admin.security.access import peer
from admin.security.keyring import NOBODY
from lb.config.tokens import Token
from lb.control import Control
from lb.observe.audit_trail import Act

DRY_RUN = "Lb-Dry-Run"


async def performed(
    control: Control, operation: Operation, request: Request, path: Mapping[str, str]
) -> Response:
    """What the view answers; 403 where the token does not reach so far."""
    token: Token = g.get("token") or NOBODY
    called = f"{operation.method} {operation.path}"
    if not operation.is_open and not token.scope.includes(operation.scope):
        raise refuse(control, request, beyond(operation.scope, token.scope, called))
    ask = Ask(operation, request, token.scope)
    if not operation.changes:
        return await operation.view(ask, **path)
    act = Act(who=token.name, source=peer(request), operation=called, request_id=g.request_id)
    act.target = next(iter(path.values()), "")
    return await _audited(control, act, ask, path)


async def _audited(control: Control, act: Act, ask: Ask, path: Mapping[str, str]) -> Response:
    """Told is what was done, and what has changed something however it ended, even if the client has left."""
    status, is_done = None, False
    try:
        with control.audit.act(act):
            response = await ask.operation.view(ask, **path)
        status, is_done = response.status_code, DRY_RUN not in response.headers
        return response
    except Problem as exc:
        status = exc.status
        if exc.slug == "forbidden":
            refuse(control, ask.request, exc)
        raise
    except Exception:
        status = 500  # a mistake of ours, which whoever answers it logs
        raise
    finally:
        if is_done or act.changes:
            control.audit.note(act, status)


def refuse(control: Control, request: Request, problem: Problem) -> Problem:
    """The problem, which the audit has heard of. A path that is none of ours is not repeated there."""
    token: Token = g.get("token") or NOBODY
    rule = (
        "no such path" if request.url_rule is None else f"{request.method} {_spoken(request.url_rule.rule)}"
    )
    act = Act(who=token.name, source=peer(request), operation=rule, request_id=g.request_id)
    control.audit.refused(act, problem.status, str(problem))
    return problem


def _spoken(rule: str) -> str:
    """The path as an operation has it, so that acts and refusals are found by the same words."""
    return rule.replace("<", "{").replace(">", "}")
