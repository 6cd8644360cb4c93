"""Five minutes of one backend, to JSON."""

import msgspec

from lb.control import Control
from lb.core.backend import Backend
from lb.core.measures.rates import STEP


class BackendHistory(msgspec.Struct, kw_only=True):
    """Five minutes: a value for each step, the newest last.

    They count attempts; `share_failing` is the part that was answered with 5xx or without a whole answer.
    `p99_seconds` is the time to the first byte, null where no attempt ended.
    """

    step_seconds: int = STEP
    requests_per_second: list[float]
    share_failing: list[float]
    p99_seconds: list[float | None]
    in_flight: list[int]


def backend_history(control: Control, backend: Backend) -> BackendHistory:
    """Its steps so far; none where no sample was taken since it was added."""
    track = control.sampler.track_of(backend)
    return BackendHistory(
        requests_per_second=[round(value, 2) for value in track.requests],
        share_failing=[round(value, 4) for value in track.failing],
        p99_seconds=track.latencies,
        in_flight=[int(value) for value in track.in_flight],
    )
