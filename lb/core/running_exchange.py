"""The exchanges that run now, as an operator sees them: what each waits for, and a way to end one.

An `ExchangeRecord` tells of an exchange that has ended; a `RunningExchange` is a copy of what one looks like
at the moment of asking. The proxy, which owns the exchanges, offers `Running`; the operator's side uses it.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

WAITING = "waiting for response"
"""The phase in which an exchange does nothing but wait for its backend to begin the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningExchange:
    """One exchange at one moment.

    `phase` says what it does or waits for, in words: "receiving body", "queued", "connecting", "sending
    request", "waiting for response", "sending response", "delivering", "tunnel". `backend` is the id of the
    backend that has it, None before the first attempt and when it has been let go. `since` is when the
    exchange began and `phase_since` when this phase did, both on the registry's clock, in seconds. The byte
    counts are those of the bodies so far.
    """

    id: bytes
    client: str
    listener: str
    method: bytes
    target: bytes
    pool: str
    backend: str | None
    phase: str
    since: float
    phase_since: float
    attempts: int
    request_bytes: int
    response_bytes: int


class Waiter(NamedTuple):
    """An exchange that waits for this backend to begin its answer, since then on the registry's clock."""

    pool: str
    backend: str
    since: float


class Waits(NamedTuple):
    """So many exchanges wait for this backend to begin its answer, the first of them for so many seconds."""

    pool: str
    backend: str
    requests: int
    seconds: float


class Running(Protocol):
    """The exchanges that run now. `list` and `end` are plain, so no exchange moves meanwhile."""

    def list(self) -> Sequence[RunningExchange]:
        """Every exchange that runs, in no particular order."""
        ...

    def waiting(self) -> Iterator[Waiter | None]:
        """Those that wait for a response; one client with each step, None for one that does not."""
        ...

    def end(self, exchange_id: bytes, why: str) -> bool:
        """Cut the exchange with this id, for the reason `why`; False if none runs by that id.

        It has not ended when this returns: its task is told to, and ends at its next step.
        """
        ...


class NothingRuns:
    """A `Running` without exchanges, for a balancer that does not list its own."""

    def list(self) -> Sequence[RunningExchange]:
        return ()

    def waiting(self) -> Iterator[Waiter | None]:
        return iter(())

    def end(self, exchange_id: bytes, why: str) -> bool:
        return False


def long_waits(
    running: Running, patience: Mapping[str, float], otherwise: float, now: float
) -> Generator[None, None, list[Waits]]:
    """Of each backend those that wait longer than the patience with its pool, or than `otherwise`."""
    waits: list[Waits] = []
    for each in running.waiting():
        if each is not None and (seconds := now - each.since) > patience.get(each.pool, otherwise):
            waits.append(Waits(each.pool, each.backend, 1, seconds))
        yield
    return added_up(waits)


def added_up(waits: Iterable[Waits]) -> list[Waits]:
    """Those of one backend as one."""
    sums: dict[tuple[str, str], Waits] = {}
    for each in waits:
        key = each.pool, each.backend
        requests, seconds = (sums[key].requests, sums[key].seconds) if key in sums else (0, 0.0)
        sums[key] = Waits(*key, requests + each.requests, max(seconds, each.seconds))
    return [*sums.values()]
