"""What is frozen when many objects have come, and what is not."""

import gc
from collections.abc import Iterator, Mapping
from weakref import ref

import pytest

from lb.collector import Collector


class Circle:
    """It leads to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collector() -> Iterator[Collector]:
    thresholds = gc.get_threshold()
    made = Collector()
    made.begin()
    try:
        yield made
    finally:
        made.end()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations of the collections that have begun."""
    begun: list[int] = []

    def note(phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            begun.append(info["generation"])

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


def test_what_a_start_makes_is_frozen_and_never_looked_at(
    collections: list[int], collector: Collector
) -> None:
    frozen = gc.get_freeze_count()
    made = [[number] for number in range(1000)]
    collector.settle()
    assert gc.get_freeze_count() >= frozen + len(made)
    assert not collections


def test_a_few_circles_are_collected(collector: Collector) -> None:
    frozen, circle = gc.get_freeze_count(), ref(Circle())
    gc.collect()
    assert circle() is None
    assert gc.get_freeze_count() <= frozen


def test_many_that_have_come_are_frozen_and_not_looked_at(collector: Collector) -> None:
    frozen = gc.get_freeze_count()
    many = [[number] for number in range(frozen)]
    gc.collect()
    assert gc.get_freeze_count() >= 2 * frozen
    assert len(gc.get_objects()) < frozen / 10
    del many
    assert gc.get_freeze_count() < 1.1 * frozen  # freed by their count


def test_what_is_frozen_is_not_more_with_each_time(collector: Collector) -> None:
    frozen = gc.get_freeze_count()
    for _ in range(40):
        circles = [Circle() for _ in range(frozen // 8)]
        gc.collect()
        del circles
    assert gc.get_freeze_count() < 2 * frozen
