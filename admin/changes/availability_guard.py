"""?keep_available=N: a change that would leave fewer backends of its pool available is refused.

What would be available is counted in slices (`lb.core.simulation.prospect`), and counted again where the
registry has changed meanwhile. Between the last count and the change there is no await, so of two calls at
once the second one sees what the first has changed. While a whole set is being applied, the guard waits.
"""

from collections.abc import Callable, Generator

from admin.input import parameters
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from lb.control import Control
from lb.core.backend import Backend
from lb.core.simulation import prospect
from lb.slices import at_once, sliced
from lb.suggestions import plural

COUNTS = 5
"""The last one, after so many that were out of date, is made at once."""


async def keep_available(
    call: Call, control: Control, pool: str, count: Callable[[], Generator[None, None, int]]
) -> None:
    """409 where the call has `keep_available`, and fewer of this pool are left as `count` counts them.

    The caller makes the change without an await in between.
    """
    keep = call.get(parameters.KEEP_AVAILABLE)
    if keep is None:
        return
    left = await _counted(control, count)
    if left < keep:
        detail = f"it would leave {plural(left, 'backend')} of pool {pool!r} available, not {keep}"
        raise Problem("conflict", detail)


async def _counted(control: Control, count: Callable[[], Generator[None, None, int]]) -> int:
    for _ in range(COUNTS - 1):
        revision = control.registry.revision
        left = await sliced(count())
        if control.registry.revision == revision:
            return left
    return at_once(count())


async def keep_available_without(call: Call, control: Control, find: Callable[[], Backend]) -> Backend:
    """The backend that is to be taken out, once it is sure that enough others are left.

    `find` looks for it, and judges the conditions of the call; it is asked again after each wait.
    """
    backend = find()
    if call.get(parameters.KEEP_AVAILABLE) is None:
        return backend
    async with control.one_set_at_a_time:
        backend = find()
        pool = control.registry.pool(backend.pool)
        await keep_available(call, control, pool.name, lambda: prospect.without(pool, backend))
    return find()
