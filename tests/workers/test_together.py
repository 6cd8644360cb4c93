"""Keeper and workers hold together, whatever happens in whatever order, and however late each hears of it."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.firm import THEMES, Firm

NUMBERS = st.integers(0, 7)
Story = Sequence[tuple[str, int, int]]


def stories(theme: Sequence[str]) -> st.SearchStrategy[Story]:
    return st.lists(st.tuples(st.sampled_from(theme), NUMBERS, NUMBERS), max_size=80)


async def play(clock: trio.testing.MockClock, workers: int, story: Story) -> None:
    firm = Firm(clock, workers)
    try:
        for step in story:
            await firm.do(*step)
        await firm.rest()
        firm.check_that_nothing_is_left()
    finally:
        firm.close()


@pytest.mark.parametrize("theme", range(len(THEMES)))
def test_any_story_ends_with_all_registries_equal(theme: int) -> None:
    @settings(max_examples=60, deadline=None)
    @given(workers=st.integers(1, 3), story=stories(THEMES[theme]))
    def tell(workers: int, story: Story) -> None:
        clock = trio.testing.MockClock()
        trio.run(play, clock, workers, story, clock=clock)

    tell()
