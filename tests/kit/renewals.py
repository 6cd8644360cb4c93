"""Stands for the certificates that a balancer orders."""

from collections.abc import Callable, Sequence
from typing import Any

from lb.core.renewal import Validity
from lb.core.renewal_view import RenewalEvent, Standing

EPOCH = 1_800_000_000.0


def standing(name: str = "www.example.com", **facts: Any) -> Standing:
    """A certificate of 90 days, half of which are over, unless the test says otherwise."""
    made: dict[str, Any] = {
        "directory": "https://ca.test/directory",
        "validity": Validity(EPOCH - 45 * 86400, EPOCH + 45 * 86400),
        "suggestion": None,
        "due": EPOCH + 15 * 86400,
        "next_attempt": EPOCH + 15 * 86400,
        "failures_in_a_row": 0,
        "why": "",
        "is_running": False,
    }
    return Standing(name=name, **(made | facts))


class FakeRenewals:
    """The `Renewals` of these names; `tell` tells an event to those who have subscribed."""

    def __init__(self, *standings: Standing) -> None:
        self.results = {"success": 0, "failure": 0}
        self.renewed: list[str] = []
        self._standings = standings
        self._subscribers: list[Callable[[RenewalEvent], None]] = []

    def standings(self) -> Sequence[Standing]:
        return self._standings

    def renew(self, name: str) -> float | None:
        if name not in [each.name for each in self._standings]:
            raise LookupError(name)
        self.renewed.append(name)
        return EPOCH

    def subscribe(self, tell: Callable[[RenewalEvent], None]) -> None:
        self._subscribers.append(tell)

    def tell(self, event: RenewalEvent) -> None:
        for each in self._subscribers:
            each(event)
