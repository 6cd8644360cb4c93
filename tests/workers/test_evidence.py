"""What is seen before the keeper has considered the last message is told with the next one, as one."""

import pytest

from lb.core.health.ejection import Cause
from lb.workers.evidence import Evidence
from lb.workers.messages import Shown
from tests.core.scene import Scene, spec


class Seen:
    """One backend, and what is told of it; `-` is a failure, `+` a success, `t` a trial that failed."""

    def __init__(self) -> None:
        self.backend = Scene(spec("a"))["a"]
        self.told: list[Shown] = []
        self.evidence = Evidence(self.told.append)

    def see(self, marks: str) -> None:
        for number, mark in enumerate(marks):
            if mark == "-":
                self.evidence.failed(self.backend, f"why {number}")
            elif mark == "t":
                self.evidence.turned(self.backend, Cause.TRIAL, f"why {number}")
            elif mark == "a":
                self.evidence.turned(self.backend, None, "")
            else:
                self.backend.outcomes.succeeded(1.0)


@pytest.mark.parametrize(
    ("marks", "shown"),
    [
        ("-", {"failures": 1, "why": "why 0"}),
        ("---", {"failures": 3, "why": "why 2"}),
        ("--+", {"succeeded": True, "why": "why 1"}),
        ("--+-", {"succeeded": True, "failures": 1, "why": "why 3"}),
        ("-+-+--", {"succeeded": True, "failures": 2, "why": "why 5"}),
        ("t", {"turns": True, "cause": Cause.TRIAL, "why": "why 0"}),
        ("ta", {"turns": True, "cause": None, "why": "why 0"}),
        ("-t-", {"failures": 2, "turns": True, "cause": Cause.TRIAL, "why": "why 2"}),
    ],
)
def test_several_are_told_as_one(marks: str, shown: dict[str, object]) -> None:
    it = Seen()
    it.see("-")
    it.told.clear()
    it.see(marks)
    assert it.told == []
    it.evidence.considered("a")
    assert it.told == [Shown("a", it.backend.serial, **shown)]  # type: ignore[arg-type]
    it.evidence.considered("a")
    assert len(it.told) == 1


def test_a_success_is_told_once() -> None:
    it = Seen()
    it.see("-")
    it.evidence.considered("a")
    it.see("++")
    assert it.told[1:] == [Shown("a", it.backend.serial, succeeded=True)]


def test_what_was_seen_of_a_namesake_is_not_told_of_its_successor() -> None:
    it = Seen()
    it.see("--")
    it.backend.serial += 1
    it.see("-")
    it.evidence.considered("a")
    assert it.told[-1] == Shown("a", it.backend.serial, failures=1, why="why 0")


def test_an_admission_needs_no_success() -> None:
    it = Seen()
    it.see("-")
    it.backend.outcomes.admit(1.0)
    it.evidence.considered("a")
    it.see("+")
    assert len(it.told) == 1
