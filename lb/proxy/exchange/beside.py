"""Running one function beside another, without an exception group around their LBErrors."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from lb.errors import LBError

T = TypeVar("T")


async def beside(main: Callable[[], Awaitable[T]], helper: Callable[[], Awaitable[None]]) -> T:
    """Run `helper` beside `main`, and return the result of `main`, whose end cancels `helper`.

    The first LBError of either cancels the other and is raised by itself. If `helper` returns, `main` goes
    on. Any other exception is a bug and is raised in an exception group.
    """
    results: list[T] = []

    async def to_the_end(nursery: trio.Nursery) -> None:
        results.append(await main())
        nursery.cancel_scope.cancel()

    async def help_it(nursery: trio.Nursery) -> None:
        await helper()

    fault = await _side_by_side(to_the_end, help_it)
    if fault is not None and not results:
        raise fault
    return results[0]


async def first_of(one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]]) -> None:
    """Run both until one of them returns, which cancels the other. Errors as for `beside`."""

    async def run(each: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
        await each()
        nursery.cancel_scope.cancel()

    fault = await _side_by_side(partial(run, one), partial(run, other))
    if fault is not None:
        raise fault


async def _side_by_side(
    one: Callable[[trio.Nursery], Awaitable[None]], other: Callable[[trio.Nursery], Awaitable[None]]
) -> LBError | None:
    """Run both in a nursery, which they are given. The first LBError of either cancels it and is returned."""
    fault: LBError | None = None

    async def guarded(run: Callable[[trio.Nursery], Awaitable[None]]) -> None:
        nonlocal fault
        try:
            await run(nursery)
        except LBError as exc:
            fault = fault or exc
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guarded, other)
        await guarded(one)
    return fault
