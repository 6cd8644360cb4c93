"""Long work in slices: others have the loop for as long, and who no longer waits for it ends it."""

from collections.abc import Generator, Iterator
from itertools import count

import trio

from lb.slices import freed, listed, sliced
from tests.kit import lasting, virtual_time

pytestmark = virtual_time


def steps(number: int) -> Generator[None, None, str]:
    for _ in range(number):
        yield
    return "done"


async def test_others_have_the_loop_for_as_long_as_a_slice_took() -> None:
    ticks = count()
    # Each slice: it is looked at the clock when it begins, behind a step, and then; the last has no step.
    with lasting(4 * 2.0 + 1.0):
        assert await sliced(steps(4), lambda: next(ticks)) == "done"


async def test_what_is_done_within_a_slice_does_not_wait() -> None:
    with lasting(0.0):
        assert await listed(range(3)) == [0, 1, 2]


async def test_what_is_freed_is_gone() -> None:
    items, table = [object(), object()], {"a": object()}
    await freed(items, table)
    assert (items, table) == ([], {})


async def test_a_cancellation_ends_the_work() -> None:
    ended = []

    def endless() -> Iterator[int]:
        while True:
            yield 1

    def work() -> Generator[object, None, None]:
        try:
            yield from endless()
        finally:
            ended.append(True)

    ticks = count()
    with trio.move_on_after(10):
        await sliced(work(), lambda: next(ticks))
    assert ended == [True]
