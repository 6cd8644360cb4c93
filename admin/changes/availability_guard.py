"""?keep_available=N: a change that would leave fewer backends of its pool available is refused.

The change is made on a copy of the registry first, and what is available there is counted. Guard and change
run without an await between them, so of two calls at once the second one sees what the first has changed.
"""

from collections.abc import Callable

from admin.changes.dry_run import rehearsed
from admin.input import parameters
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.views.backend_json import totals
from lb.control import Control
from lb.core.backend import Backend
from lb.suggestions import plural


def keep_available(call: Call, control: Control, pool: str, change: Callable[[Control], object]) -> None:
    """409 where the call has `keep_available`, and `change`, made on a copy, leaves fewer in this pool."""
    keep = call.get(parameters.KEEP_AVAILABLE)
    if keep is None:
        return
    copy = rehearsed(control)
    with control.audit.act(None):
        change(copy)
    left = totals(copy.registry.pool(pool).backends)
    if left.available < keep:
        detail = f"it would leave {plural(left.available, 'backend')} of pool {pool!r} available, not {keep}"
        raise Problem("conflict", detail)


def keep_available_without(call: Call, control: Control, backend: Backend) -> None:
    """The same guard where this backend is to be taken out."""

    def take_out(copy: Control) -> None:
        copy.registry.maintenance(copy.registry.backend(backend.id))

    keep_available(call, control, backend.pool, take_out)
