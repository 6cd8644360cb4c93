"""The worker processes of a balancer that has several, as /workers, /stats and the page show them."""

import msgspec

from lb.control import Control
from lb.core.worker_view import WorkerState, WorkerView


class WorkerStats(msgspec.Struct, kw_only=True):
    """One worker.

    `pid` is its process, null between two of them. It is `silent` while it does not answer: then its numbers
    are the last that it has told. `restarts` are the times that its process ended before it was told to, and
    `requests_total` those of all its processes. `loop_lag_p99_seconds` says how late its event loop was in
    the last half-minute, null where too little is known. `behind` has a sentence for each thing that it could
    not apply, such as other settings, and uses as it was before.
    """

    worker: int
    pid: int | None
    state: WorkerState
    state_seconds: float
    restarts: int
    connections: int
    requests_total: int
    requests_per_second: float
    loop_lag_p99_seconds: float | None
    memory_bytes: int | None
    behind: list[str]


def worker_stats(control: Control) -> list[WorkerStats]:
    """All workers, by their number; none where one process does all."""
    now = control.registry.now()
    return [_stats(view, now) for view in control.workers.list()]


def _stats(view: WorkerView, now: float) -> WorkerStats:
    return WorkerStats(
        worker=view.number,
        pid=view.pid,
        state=view.state,
        state_seconds=round(now - view.since, 1),
        restarts=view.restarts,
        connections=view.connections,
        requests_total=view.requests,
        requests_per_second=view.requests_per_second,
        loop_lag_p99_seconds=None if view.lag_p99 is None else round(view.lag_p99, 6),
        memory_bytes=view.memory,
        behind=[str(each) for each in view.behind],
    )
