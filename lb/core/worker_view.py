"""The workers of a balancer of several processes, as an operator sees them.

`lb.workers` offers `Workers`; the operator's side uses it. A balancer of one process has none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lb.core.measures.histogram import Histogram

WorkerState = Literal["starting", "serving", "silent", "stopping", "ended"]
WorkerKind = Literal["serving", "silent", "answering", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One worker at one moment.

    `pid` is its process, None between two of them, and `since` when it came into its state, on the registry's
    clock. A worker is `silent` while it does not answer; its numbers are the last that it has told.
    `restarts` counts the processes that ended before they were told to. `requests` are those that have ended,
    of all processes that this worker has had, as are `lags`, by how much its loop was late; `lag_p99` is of
    the last half-minute (None of too few). `memory` are resident bytes, None where they are not known.
    `behind` is what it was told and could not apply.
    """

    number: int
    pid: int | None
    state: WorkerState
    since: float
    restarts: int
    connections: int
    requests: int
    requests_per_second: float
    lags: Histogram
    lag_p99: float | None
    memory: int | None
    behind: tuple["Behind", ...] = ()


@dataclass(frozen=True, slots=True)
class Behind:
    """Something that a worker uses as it was before the last change: it could not apply that."""

    worker: int
    what: str
    why: str

    def __str__(self) -> str:
        return f"worker {self.worker} goes on with the {self.what} that it had: {self.why}"


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """What happened to a worker: it is serving, silent, answering again, or has ended before its time."""

    kind: WorkerKind
    worker: int
    pid: int | None
    detail: str = ""


class Workers(Protocol):
    """All workers of one balancer."""

    def list(self) -> Sequence[WorkerView]:
        """Each of them, by its number; none where one process does all."""
        ...

    def behind(self) -> Sequence[Behind]:
        """What some of them could not apply, as far as they have said so."""
        ...

    async def refresh(self) -> None:
        """Wait until the numbers of the balancer are those of now; for a worker that is silent not long."""
        ...

    def subscribe(self, tell: Callable[[WorkerEvent], None]) -> None:
        """Call `tell` with every event from now on; it neither raises nor waits."""
        ...


class NoWorkers:
    """The `Workers` of a balancer of one process."""

    def list(self) -> Sequence[WorkerView]:
        return ()

    def behind(self) -> Sequence[Behind]:
        return ()

    async def refresh(self) -> None:
        """The numbers are always those of now."""

    def subscribe(self, tell: Callable[[WorkerEvent], None]) -> None:
        """Nothing happens to workers that are not there."""
