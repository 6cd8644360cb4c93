"""The metrics of workers."""

from collections.abc import Iterator, Sequence

from admin.views.metric_families import Family, counter, gauge, histogram
from lb.core.worker_view import WorkerView

LABELS = ("worker",)
ANSWERING = frozenset({"serving", "stopping"})


def of_workers(workers: Sequence[WorkerView]) -> Iterator[Family]:
    """Every family with series by worker."""
    keyed = [((str(each.number),), each) for each in workers]
    up = ((key, float(each.state in ANSWERING)) for key, each in keyed)
    yield gauge("worker_up", "1 while a worker serves and answers.", LABELS, up)
    restarts = ((key, each.restarts) for key, each in keyed)
    yield counter("worker_restarts", "Processes that ended before they were told to.", LABELS, restarts)
    are_open = ((key, each.connections) for key, each in keyed)
    yield gauge("worker_connections", "Client connections open now.", LABELS, are_open)
    requests = ((key, each.requests) for key, each in keyed)
    yield counter("worker_requests", "Requests that have ended.", LABELS, requests)
    lags = ((key, each.lags) for key, each in keyed)
    help_text = "How much later than due a task of the worker woke up."
    yield histogram("worker_loop_lag_seconds", help_text, LABELS, lags)
    memory = ((key, each.memory) for key, each in keyed if each.memory is not None)
    yield gauge("worker_resident_memory_bytes", "Resident memory of a worker.", LABELS, memory)
