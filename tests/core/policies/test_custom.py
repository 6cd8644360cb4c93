"""Policies of one's own: what is said of one that is none, and what becomes of requests when one fails."""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

import pytest

from lb.core.backend import Backend
from lb.core.policies.base import Asking
from lb.core.policies.custom import LONGEST, Guarded, NotACandidate, load, make_own
from lb.core.policies.round_robin import RoundRobin
from tests.core.scene import Request, backends


class Last:
    """A policy as an operator would write it, with a history."""

    heard: ClassVar[list[tuple[str, float]]] = []

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        return candidates[-1]

    def ended(self, backend: Backend, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time runs backwards")
        self.heard.append((backend.id, seconds))


class Choosy:
    def __init__(self, what: object) -> None:
        self.what = what

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Any:
        if isinstance(self.what, Exception):
            raise self.what
        return self.what


class Async:
    async def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        raise NotImplementedError


class Empty:
    choose = None


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("house.rules")
    vars(module).update(Last=Last, Choosy=Choosy, Async=Async, Empty=Empty, LIMIT=3)
    monkeypatch.setitem(sys.modules, "house.rules", module)


def test_a_class_by_its_name() -> None:
    assert load("house.rules:Last") is Last


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no.such_module:Last", "cannot import no.such_module: ModuleNotFoundError: No module named 'no'"),
        ("house.rules:First", "module house.rules has no class First"),
        ("house.rules:LIMIT", "module house.rules has no class LIMIT"),
        ("house.rules:Empty", "Empty has no method choose(candidates, request)"),
        ("house.rules:Async", "Async.choose must not wait, so it cannot be async"),
        ("house.rules:Choosy", "cannot be made without arguments: TypeError: "),
    ],
)
def test_what_is_said_of_one_that_is_none(name: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_own(name, lambda _error: None)
    assert str(caught.value).startswith(f"policy {name!r}: {why}")


def test_it_chooses_and_learns() -> None:
    told: list[Exception] = []
    policy = make_own("house.rules:Last", told.append)
    candidates = backends(1, 1)
    assert policy.choose(candidates, Request()).id == "b"
    assert policy.ended is not None
    policy.ended(candidates[0], 0.5)
    assert Last.heard.pop() == ("a", 0.5)
    assert (policy.failures, policy.last_failure, told) == (0, "", [])


def test_a_failure_to_learn_is_told_too() -> None:
    told: list[Exception] = []
    policy = make_own("house.rules:Last", told.append)
    assert policy.ended is not None
    policy.ended(backends(1)[0], -1.0)
    assert (policy.failures, policy.last_failure) == (1, "ValueError: time runs backwards")
    assert len(told) == 1


@pytest.mark.parametrize(
    ("what", "failure"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (None, "NotACandidate: Choosy chose None, which is no candidate"),
        (backends(1)[0], "NotACandidate: Choosy chose <"),
        ("a", "NotACandidate: Choosy chose 'a', which is no candidate"),
        (Mute(), "Mute: <exception str() failed>"),
    ],
)
def test_round_robin_chooses_instead_of_one_that_fails(what: object, failure: str) -> None:
    told: list[Exception] = []
    policy = Guarded(Choosy(what), RoundRobin(), told.append)
    candidates = backends(1, 1, 1)
    assert "".join(policy.choose(candidates, Request()).id for _ in range(5)) == "abcab"
    assert policy.failures == len(told) == 5
    assert failure in policy.last_failure
    assert policy.ended is None


def test_not_much_is_kept_of_a_failure() -> None:
    policy = Guarded(Choosy(ValueError("long " * 1000)), RoundRobin(), lambda _error: None)
    policy.choose(backends(1), Request())
    assert len(policy.last_failure) == LONGEST


def test_it_cannot_take_the_candidates_away() -> None:
    class Greedy:
        def choose(self, candidates: Any, request: Asking) -> Backend:
            candidates.clear()
            raise NotImplementedError

    told: list[Exception] = []
    assert Guarded(Greedy(), RoundRobin(), told.append).choose(backends(1), Request()).id == "a"
    assert isinstance(told[0], AttributeError)


def test_one_that_looks_like_a_candidate_is_none() -> None:
    class Mimic:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    told: list[Exception] = []
    candidates = backends(1, 1)
    assert Guarded(Choosy(Mimic()), RoundRobin(), told.append).choose(candidates, Request()) in candidates
    assert isinstance(told[0], NotACandidate)
