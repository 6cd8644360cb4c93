"""A day of a keeper and three workers in a few seconds, on a clock that jumps.

Each hour has a theme (`tests.workers.firm`): operators drain, backends come and go, some fall ill, workers
die. All is random, from a seed: the same seed gives the same day, and LB_SEED=7 plays one day again. What
must hold is checked after each step; whenever all messages are heard, all know the same.
"""

import os
from collections import Counter
from random import Random

import pytest
import trio
import trio.testing

from tests.workers.firm import THEMES, Firm

SEEDS = [int(os.environ["LB_SEED"])] if "LB_SEED" in os.environ else [1, 2, 8]
WORKERS = 3
HOURS = 24
STEPS = 250
KINDS = {"added", "changed", "ready", "draining", "drained", "maintenance", "removed"} | {
    *("up", "down", "ejected", "trial", "admitted"),
}


async def play(clock: trio.testing.MockClock, seed: int) -> Counter[str]:
    random, firm = Random(seed), Firm(clock, WORKERS)
    try:
        for hour in range(HOURS):
            theme = THEMES[hour % len(THEMES)]
            for _ in range(STEPS):
                await firm.do(random.choice(theme), random.randrange(8), random.randrange(8))
            await firm.rest()
            clock.jump(max(0.0, 3600 * (hour + 1) - trio.current_time()))
        firm.check_that_nothing_is_left()
    finally:
        firm.close()
    return firm.told


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_keeps_every_promise(seed: int) -> None:
    clock = trio.testing.MockClock()
    told = trio.run(play, clock, seed, clock=clock)
    assert told.keys() >= KINDS
    assert sum(told[kind] for kind in KINDS) > 1000
