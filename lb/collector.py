"""The garbage collector, so that it does not hold the event loop when there are thousands of backends.

Most of what we make is freed by its count of references. The collector looks for the rest, for objects that
lead to each other in a circle, and to do so it looks at all objects that it does not take for *frozen*: 30 ms
for the 170,000 of ten thousand backends. So:

- Objects that exist when everything has started stay for the life of the process, and are frozen. Those that
  exist before the first client is accepted are frozen then, so that no collection looks at them while the
  admin side is imported. Neither time is anything collected first: it would hold the loop, and imports leave
  few circles.
- A collection of the middle generation comes often, so that it looks at few: those of a few young ones.
- Where a full collection would look at more than a quarter of what is frozen, as after thousands of backends
  have come, these are frozen instead.

A frozen object is freed by its count like any other. Circles of frozen ones stay, but they are bounded: with
A objects at most at a time beside the frozen ones, there is no freezing while more than 4A are frozen, so
there are never more than 5A.
"""

import gc
from collections.abc import Mapping

COLLECT_AFTER = (10_000, 2, 20)
"""Thresholds of the three generations; CPython's defaults are 700, 10 and 10. An exchange makes few objects
and no circles, so the young ones may be many."""
GENERATIONS = 3
FEW = 10_000
"""To look at so many takes no long time."""
GROWTH = 4


class Collector:
    """The settings of the collector while the program serves."""

    def begin(self) -> None:
        """Freeze what there is, and set the thresholds: before the first client is accepted."""
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        gc.callbacks.append(self._before)

    def settle(self) -> None:
        """Freeze what has come since, as when everything has started."""
        gc.freeze()

    def end(self) -> None:
        """Let nothing more be frozen."""
        gc.callbacks.remove(self._before)

    def _before(self, phase: str, info: Mapping[str, int]) -> None:
        if phase != "start" or info["generation"] != GENERATIONS - 1:
            return
        count = sum(len(gc.get_objects(generation)) for generation in range(GENERATIONS))
        if count >= FEW and GROWTH * count >= gc.get_freeze_count():
            gc.freeze()
