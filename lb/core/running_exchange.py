"""The exchanges that run now, as an operator sees them: what each waits for, and a way to end one.

An `ExchangeRecord` tells of an exchange that has ended; a `RunningExchange` is a copy of what one looks like
at the moment of asking. The proxy, which owns the exchanges, offers `Running`; the operator's side uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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


class Running(Protocol):
    """The exchanges that run now. Both methods are plain functions, so no exchange moves meanwhile."""

    def list(self) -> Sequence[RunningExchange]:
        """Every exchange that runs, in no particular order."""
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

    def end(self, exchange_id: bytes, why: str) -> bool:
        return False
