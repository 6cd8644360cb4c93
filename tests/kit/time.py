"""Virtual time: the mark that gives it to a test, and how a test measures it."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import trio
import trio.testing

EXACTLY = 1e-6
"""Seconds by which sums of floating-point times may differ. The virtual clock itself is exact."""


virtual_time = pytest.mark.virtual_time
"""The mark of a module whose tests run on virtual time. A test with a clock fixture keeps that clock."""


def run_on_virtual_time(
    main: Callable[[], Awaitable[object]],
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> object:
    clock = clock or trio.testing.MockClock(autojump_threshold=0)
    return trio.run(main, clock=clock, instruments=instruments)


@contextmanager
def lasting(seconds: float) -> Iterator[None]:
    """Fail unless the block takes exactly so long on Trio's clock."""
    began = trio.current_time()
    yield
    took = trio.current_time() - began
    assert abs(took - seconds) < EXACTLY, f"it took {took:g} s, not {seconds:g} s"
