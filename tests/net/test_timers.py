"""However often a deadline moves, it ends a wait exactly when it is reached."""

from collections.abc import AsyncIterator
from math import inf

import pytest
import trio
import trio.testing

from lb.net.timers import PRUNE_FROM, Deadlines, Timer
from tests.kit import virtual_time

pytestmark = virtual_time


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    kept = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.testing.wait_all_tasks_blocked()
        yield kept
        nursery.cancel_scope.cancel()


async def ended_at(deadlines: Deadlines, *moves: tuple[float, float]) -> float:
    """Seconds until a wait ends whose deadline moves: each move is (when, to when), in seconds from now."""
    began = trio.current_time()
    with trio.CancelScope() as scope:
        timer = Timer(deadlines, scope)
        for at, to in moves:
            await trio.sleep_until(began + at)
            timer.move(began + to)
        await trio.sleep(1000)
    timer.cancel()
    return trio.current_time() - began


@pytest.mark.parametrize(
    ("moves", "end"),
    [
        ([(0, 10)], 10),
        ([(0, 10), (5, 60)], 60),
        ([(0, 60), (5, 10)], 10),
        ([(0, 60), (1, 10), (2, 20), (3, 15)], 15),
        ([(0, 10), (9, 19), (18, 28), (27, 37)], 37),
        ([(0, 10), (5, inf)], 1005),
        ([(0, 10), (5, inf), (20, 30)], 30),
        ([(0, 10), (10, 5)], 10),
    ],
)
async def test_it_ends_at_the_last_deadline_that_was_set(
    deadlines: Deadlines, moves: list[tuple[float, float]], end: float
) -> None:
    assert await ended_at(deadlines, *moves) == end


async def test_many_end_each_at_its_own(deadlines: Deadlines) -> None:
    ends: list[tuple[float, float]] = []

    async def one(wish: float) -> None:
        ends.append((wish, await ended_at(deadlines, (0, 500), (wish / 2, wish))))

    async with trio.open_nursery() as nursery:
        for wish in range(50, 1, -1):
            nursery.start_soon(one, float(wish))
    assert len(ends) == 49
    assert all(wish == end for wish, end in ends)


async def test_the_entries_of_cancelled_ones_wake_nobody(deadlines: Deadlines) -> None:
    first, last = Timer(deadlines, trio.CancelScope()), Timer(deadlines, trio.CancelScope())
    first.move(trio.current_time() + 5)
    for second in range(50):
        timer = Timer(deadlines, trio.CancelScope())
        timer.move(trio.current_time() + 10 + second)
        timer.cancel()
    last.move(trio.current_time() + 100)
    await trio.sleep(6)
    assert first.scope is not None
    assert first.scope.cancel_called  # type: ignore[attr-defined]
    assert [entry[2] for entry in deadlines._heap] == [last]


async def test_who_was_cancelled_is_let_go_and_forgotten(deadlines: Deadlines) -> None:
    for _ in range(10 * PRUNE_FROM):
        scope = trio.CancelScope()
        timer = Timer(deadlines, scope)
        timer.move(trio.current_time() + 10)
        timer.cancel()
    assert len(deadlines._heap) <= PRUNE_FROM + 1
    await trio.sleep(20)
    assert not scope.cancel_called
