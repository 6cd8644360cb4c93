"""Long work in slices, so that no request waits for it.

All tasks share one event loop with the traffic. What takes time in proportion to what was sent, or to how
many backends there are, is written as an iterator, and runs here for a few milliseconds at a time. It does
not go into a thread: a thread that computes keeps the interpreter's lock for THREAD_SECONDS each time that a
socket call of the traffic has let go of it. Only what cannot be in slices does, as the reading of TOML.

Other tasks run between two slices and may change what the work is about. So the work says what then holds.
"""

from collections.abc import Callable, Generator, Iterable
from time import perf_counter
from typing import Any, TypeVar

import trio

T = TypeVar("T")
R = TypeVar("R")

THREAD_SECONDS = 0.0005
"""For `sys.setswitchinterval`, whose default is ten times that."""
SLICE_SECONDS = 0.002
REST_SECONDS = 0.001
"""A last slice that took so long is followed by a pause too: other work in slices may follow it at once."""


async def sliced(work: Generator[object, None, R], now: Callable[[], float] = perf_counter) -> R:
    """What the work returns. Between its slices others have the loop for as long as it had it.

    May be cancelled there; the work is closed then.
    """
    try:
        while True:
            began = now()
            next(work)
            while now() - began < SLICE_SECONDS:
                next(work)
            await trio.sleep(now() - began)
    except StopIteration as done:
        result: R = done.value
    finally:
        work.close()
    if (took := now() - began) >= REST_SECONDS:
        await trio.sleep(took)
    return result


async def to_the_end(work: Generator[object, None, R]) -> R:
    """As `sliced`; but a cancellation waits until all is done, so that what has begun is never left half."""
    with trio.CancelScope(shield=True):
        result = await sliced(work)
    return result


def made(work: Iterable[object]) -> Generator[object, None, None]:
    """The work that has no result."""
    yield from work


def at_once(work: Generator[object, None, R]) -> R:
    """What the work returns, made without a pause."""
    try:
        while True:
            next(work)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def listed(items: Iterable[T]) -> list[T]:
    """All of these items, made in slices."""

    def collect() -> Generator[None, None, list[T]]:
        found = []
        for item in items:
            found.append(item)
            yield
        return found

    return await sliced(collect())


async def freed(*containers: list[Any] | dict[Any, Any]) -> None:
    """Empty these in slices: to free ten thousand objects at once takes long."""

    def emptying() -> Generator[None, None, None]:
        for each in containers:
            take: Callable[[], object] = each.pop if isinstance(each, list) else each.popitem
            while each:
                take()
                yield

    await sliced(emptying())
