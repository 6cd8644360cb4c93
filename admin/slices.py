"""Long work in slices, so that no request waits for it.

The admin service shares the event loop with the traffic. What takes time in proportion to what was sent, or
to how much there is, is written as an iterator, and runs here for a few milliseconds at a time. It does not
go into a thread: a thread that computes keeps the interpreter's lock for 5 ms each time that a socket call of
the traffic has let go of it.
"""

from collections.abc import Callable, Generator, Iterable
from time import perf_counter
from typing import TypeVar

import trio

T = TypeVar("T")
R = TypeVar("R")

SLICE_SECONDS = 0.003


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
        return done.value  # type: ignore[no-any-return]
    finally:
        work.close()


async def listed(items: Iterable[T]) -> list[T]:
    """All of these items, made in slices."""

    def collect() -> Generator[None, None, list[T]]:
        found = []
        for item in items:
            found.append(item)
            yield
        return found

    return await sliced(collect())
