"""Running one function beside another, without an exception group around their LBErrors."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from lb.errors import LBError

T = TypeVar("T")


async def beside(main: Callable[[], Awaitable[T]], helper: Callable[[], Awaitable[None]]) -> T:
    """Run `helper` beside `main`, and return the result of `main`, whose end cancels `helper`.

    The first LBError of either cancels the other and is raised by itself. If `helper` returns, `main` goes
    on. Any other exception is a bug and is raised in an exception group.
    """
    fault: LBError | None = None
    results: list[T] = []

    async def guarded(run: Callable[[], Awaitable[None]]) -> None:
        nonlocal fault
        try:
            await run()
        except LBError as exc:
            fault = fault or exc
            nursery.cancel_scope.cancel()

    async def to_the_end() -> None:
        results.append(await main())
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guarded, helper)
        await guarded(to_the_end)
    if fault is not None and not results:
        raise fault
    return results[0]
