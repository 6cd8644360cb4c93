"""The board: each worker writes its own column, and all read what is shown."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lb.workers.board import CLIENTS, HEADERS, ROWS, Board


@pytest.fixture
def keeper() -> Iterator[Board]:
    board = Board.made(3)
    yield board
    board.close()


@pytest.fixture
def workers(keeper: Board) -> Iterator[list[Board]]:
    boards = [Board(os.dup(keeper.fd), 3, column) for column in range(3)]
    yield boards
    for board in boards:
        board.close()


def test_all_see_what_each_shows(keeper: Board, workers: list[Board]) -> None:
    for number, worker in enumerate(workers, 5):
        worker.show(CLIENTS, number)
    assert [board.shown(CLIENTS) for board in (keeper, *workers)] == [[5, 6, 7]] * 4
    assert keeper.total(CLIENTS) == 18


@pytest.mark.parametrize("row", [0, 1, HEADERS, HEADERS + 1, ROWS - 1])
def test_rows_are_apart(keeper: Board, workers: list[Board], row: int) -> None:
    workers[1].show(row, 9)
    assert keeper.shown(row) == [0, 9, 0]
    assert [keeper.total(other) for other in (row - 1, row + 1) if 0 <= other < ROWS] in ([0], [0, 0])


def test_who_has_died_shows_nothing_and_the_others_do(keeper: Board, workers: list[Board]) -> None:
    for worker in workers:
        for row in (CLIENTS, HEADERS, ROWS - 1):
            worker.show(row, 2)
    keeper.clear(1, ROWS)
    assert [keeper.shown(row) for row in (CLIENTS, HEADERS, ROWS - 1)] == [[2, 0, 2]] * 3


def test_no_more_rows_than_said_are_cleared(keeper: Board, workers: list[Board]) -> None:
    for row in (HEADERS, HEADERS + 1):
        workers[0].show(row, 1)
    keeper.clear(0, HEADERS + 1)
    assert [keeper.total(HEADERS), keeper.total(HEADERS + 1)] == [0, 1]


def test_what_nobody_touches_takes_no_memory(keeper: Board) -> None:
    assert os.fstat(keeper.fd).st_blocks == 0


def test_a_process_that_inherits_the_descriptor_shows_there(keeper: Board) -> None:
    code = f"from lb.workers.board import Board; Board({keeper.fd}, 3, 2).show(20, 41)"
    subprocess.run([sys.executable, "-c", code], pass_fds=[keeper.fd], check=True, timeout=30)
    assert keeper.shown(20) == [0, 0, 41]
