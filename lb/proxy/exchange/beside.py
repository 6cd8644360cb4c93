"""Running one thing beside another without exception groups leaking out."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from lb.errors import LBError

T = TypeVar("T")


async def beside(main: Callable[[], Awaitable[T]], helper: Callable[[], Awaitable[None]]) -> T:
    """The result of `main`, with `helper` running next to it; when `main` ends, `helper` is cancelled.

    The first `LBError` of either ends both and is raised bare. A helper that merely ends leaves `main` be.
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
