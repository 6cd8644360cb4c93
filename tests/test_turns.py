"""Tests in two workers: side by side, but for one that is alone."""

import fcntl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.turns import Turns


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Turns]:
    turns = Turns(tmp_path)
    yield turns
    turns.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Turns]:
    turns = Turns(tmp_path)
    yield turns
    turns.close()


def is_free(file: Path, how: int) -> bool:
    """Could a third worker take this lock now?"""
    with file.open("w") as opened:
        try:
            fcntl.flock(opened, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_two_tests_run_side_by_side_and_none_is_alone_meanwhile(
    one: Turns, other: Turns, tmp_path: Path
) -> None:
    with one.turn(alone=False), other.turn(alone=False):
        assert is_free(tmp_path / "queue", fcntl.LOCK_EX)
        assert is_free(tmp_path / "running", fcntl.LOCK_SH)
        assert not is_free(tmp_path / "running", fcntl.LOCK_EX)
    assert is_free(tmp_path / "running", fcntl.LOCK_EX)


def test_no_test_runs_beside_one_that_is_alone(one: Turns, tmp_path: Path) -> None:
    with one.turn(alone=True):
        assert not is_free(tmp_path / "running", fcntl.LOCK_SH)
    assert is_free(tmp_path / "running", fcntl.LOCK_EX)


def test_while_one_waits_to_be_alone_no_other_begins(one: Turns, other: Turns, tmp_path: Path) -> None:
    def alone() -> bool:
        with other.turn(alone=True):
            return is_free(tmp_path / "running", fcntl.LOCK_SH)

    with ThreadPoolExecutor(1) as thread:
        with one.turn(alone=False):
            ran = thread.submit(alone)
            while is_free(tmp_path / "queue", fcntl.LOCK_SH):
                pass  # the thread has not come to wait yet
            assert not ran.done()
        assert not ran.result()
