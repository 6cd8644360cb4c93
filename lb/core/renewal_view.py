"""Certificates that are ordered and renewed, as an operator sees them.

`lb.acme` offers `Renewals`; the operator's side uses it. A balancer that orders none has none.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from lb.core.renewal import Suggestion, Validity


class Kind(StrEnum):
    """What a RenewalEvent tells of."""

    RENEWED = "certificate renewed"
    FAILED = "renewal failed"
    REHEARSED = "challenge rehearsed"


class RenewalEvent(NamedTuple):
    """Something that happened to a name. `text` is a sentence, `next_attempt` a Unix time or None.

    `name` is empty where the storage as a whole is at fault.
    """

    kind: Kind
    name: str
    text: str
    next_attempt: float | None


class Standing(NamedTuple):
    """How it is with a name, for operators. `due` is when its certificate is to be renewed; Unix times.

    `why` is the sentence of the last failure, empty after a success.
    """

    name: str
    directory: str
    validity: Validity | None
    suggestion: Suggestion | None
    due: float
    next_attempt: float | None
    failures_in_a_row: int
    why: str
    is_running: bool


class Renewals(Protocol):
    """All names whose certificates are ordered. `results` counts attempts by "success" and "failure"."""

    @property
    def results(self) -> Mapping[str, int]: ...

    def standings(self) -> Sequence[Standing]:
        """All wanted names in their order; none before the folder was looked at."""
        ...

    def renew(self, name: str) -> float | None:
        """Have this name renewed as soon as its authorities allow, and say when.

        None where its files cannot be read. LookupError if it is not wanted.
        """
        ...

    def subscribe(self, tell: Callable[[RenewalEvent], None]) -> None:
        """Call `tell` with every event from now on; it neither raises nor waits."""
        ...


class NoRenewals:
    """The `Renewals` of a balancer that orders none."""

    results: Mapping[str, int] = {"success": 0, "failure": 0}

    def standings(self) -> Sequence[Standing]:
        return ()

    def renew(self, name: str) -> float | None:
        raise LookupError(name)

    def subscribe(self, tell: Callable[[RenewalEvent], None]) -> None:
        """Nothing is ordered."""
