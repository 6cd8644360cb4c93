"""The time of day, for moments of Trio's clock."""

import time
from collections.abc import Callable

import trio


def wall_clock() -> Callable[[float], float]:
    """A function from a time of Trio's clock to seconds since 1970. It follows steps of the wall clock."""
    return lambda moment: time.time() - (trio.current_time() - moment)
