"""Accepting evenly, on a board of our own and on virtual time."""

import os

import pytest
import trio

from lb.workers import evenness
from lb.workers.board import BEAT, Board
from lb.workers.evenness import SharedEvenness, allowance, silent_for
from tests.kit import virtual_time


@pytest.mark.parametrize(
    ("mine", "others", "allowed"),
    [
        (0, [0, 0], 2),
        (2, [0, 5], 0),
        (8, [7, 9], 1),
        (9, [7, 9], 0),
        (4, [9, 9], 7),
        (1000, [1000, 1010], 62),
        (1100, [1000, 1010], 0),
    ],
)
def test_nobody_is_far_ahead_of_the_one_with_the_fewest(mine: int, others: list[int], allowed: int) -> None:
    assert allowance(mine, others) == allowed


def test_who_is_alone_takes_all() -> None:
    assert allowance(5000, []) > 10**6


@pytest.mark.parametrize("workers", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("connections", [32, 1000])
def test_whoever_is_quickest_the_busiest_has_little_more_than_its_share(
    workers: int, connections: int
) -> None:
    counts = [0] * workers
    for _ in range(connections):
        quickest = next(w for w in range(workers) if allowance(counts[w], counts[:w] + counts[w + 1 :]))
        counts[quickest] += 1
    assert max(counts) <= max(1.3 * connections / workers, connections / workers + evenness.SLACK)


@virtual_time
async def test_one_whose_beat_is_old_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    boards = [Board.made(3)]
    boards += [Board(os.dup(boards[0].fd), 3, column) for column in range(3)]
    now = 1000
    monkeypatch.setattr(evenness, "_now", lambda: now)
    _keeper, *mine = boards
    try:
        first, second, _third = (SharedEvenness(board, column) for column, board in enumerate(mine))
        for board in mine[:2]:
            board.show(BEAT, now)
        first.show(7)
        second.show(3)
        assert first.allowance(7) == 0  # and the third, which never began, does not count
        now += evenness.OLD + 1
        assert first.allowance(7) > 1000
    finally:
        for board in boards:
            board.close()


@virtual_time
async def test_it_shows_that_it_accepts_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Board.made(1)
    board = Board(os.dup(keeper.fd), 1, 0)
    monkeypatch.setattr(evenness, "_now", lambda: int(trio.current_time() * 10) + 1)
    try:
        with trio.move_on_after(1.05):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(SharedEvenness(board, 0).beat)
                await trio.sleep(0.95)
                assert keeper.shown(BEAT) == [9]
        assert keeper.shown(BEAT) == [0]
    finally:
        keeper.close()
        board.close()


def test_how_long_one_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Board.made(2)
    board = Board(os.dup(keeper.fd), 2, 1)
    try:
        monkeypatch.setattr(evenness, "_now", lambda: 1125)
        board.show(BEAT, 1000)
        assert [silent_for(keeper, column) for column in range(2)] == [0.0, 12.5]
    finally:
        keeper.close()
        board.close()
