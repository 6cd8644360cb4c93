"""What a token may do: its scope must include the scope of the operation."""

from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from lb.config.token_scope import Scope
from lb.config.tokens import Token


def check_scope(operation: Operation, token: Token) -> None:
    """403 unless the token may call this operation. An open operation needs no token."""
    if not operation.is_open and not token.scope.includes(operation.scope):
        raise _forbidden(operation.scope, token.scope, f"{operation.method} {operation.path}")


def demand_scope(call: Call, needed: Scope, what: str) -> None:
    """403 unless the token of this call may do `what`, which needs more than the operation alone."""
    if not call.scope.includes(needed):
        raise _forbidden(needed, call.scope, what)


def _forbidden(needed: Scope, given: Scope, what: str) -> Problem:
    """403 that says which scope would do."""
    return Problem("forbidden", f"{what} needs a token of scope {needed}; this one has {given}")
