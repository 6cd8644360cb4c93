"""Policies of the operator's own: a class in any module that can be imported.

Such a class is foreign code in the middle of ours. A class that cannot be loaded or made is a ValueError with
a sentence. An exception in it later fails no request: round robin chooses instead, and the failure is counted
and told.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import iscoroutinefunction
from traceback import format_exception_only
from typing import cast

from lb.core.backend import Backend
from lb.core.policies.base import Asking, Learns, Policy
from lb.core.policies.round_robin import RoundRobin

LONGEST = 200
"""Characters that are kept of the text of an exception."""


class NotACandidate(Exception):
    """A policy chose something that is not among its candidates."""


def in_words(error: BaseException) -> str:
    """The type and text of an exception, shortened; unlike `str` this never raises."""
    return "".join(format_exception_only(error)).strip()[:LONGEST]


def load(name: str) -> type[Policy]:
    """The class `package.module:Class`; ValueError, in a sentence, where there is none or it is no policy."""
    module_name, _, class_name = name.partition(":")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as exc:
        raise ValueError(f"policy {name!r}: cannot import {module_name}: {in_words(exc)}") from exc
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise ValueError(f"policy {name!r}: module {module_name} has no class {class_name}")
    choose = getattr(found, "choose", None)
    if not callable(choose):
        raise ValueError(f"policy {name!r}: {class_name} has no method choose(candidates, request)")
    if iscoroutinefunction(choose):
        raise ValueError(f"policy {name!r}: {class_name}.choose must not wait, so it cannot be async")
    return cast("type[Policy]", found)


def make_own(name: str, tell: Callable[[Exception], None]) -> "Guarded":
    """The policy of this name, guarded; ValueError, in a sentence, where it cannot be loaded or made."""
    made = load(name)
    try:
        policy = made()
    except (Exception, SystemExit) as exc:
        raise ValueError(f"policy {name!r}: cannot be made without arguments: {in_words(exc)}") from exc
    return Guarded(policy, RoundRobin(), tell)


class Guarded:
    """A policy with a fallback: where `policy` raises, `fallback` chooses, and `tell` gets the exception.

    `failures` counts the exceptions; `last_failure` is the last one in words, "" before the first.
    """

    def __init__(self, policy: Policy, fallback: RoundRobin, tell: Callable[[Exception], None]) -> None:
        self.failures = 0
        self.last_failure = ""
        self.ended: Callable[[Backend, float], None] | None = None
        self._policy = policy
        self._fallback = fallback
        self._tell = tell
        if isinstance(policy, Learns):
            self._learner = policy
            self.ended = self._ended

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        try:
            # Pass a copy: a policy that mutates the list must not affect the fallback.
            return self._own_choice(tuple(candidates), request)
        except Exception as exc:
            self._failed(exc)
            return self._fallback.choose(candidates, request)

    def _own_choice(self, candidates: tuple[Backend, ...], request: Asking) -> Backend:
        chosen = self._policy.choose(candidates, request)
        for backend in candidates:
            if backend is chosen:
                return backend
        raise NotACandidate(f"{type(self._policy).__name__} chose {chosen!r:.100}, which is no candidate")

    def _ended(self, backend: Backend, seconds: float) -> None:
        try:
            self._learner.ended(backend, seconds)
        except Exception as exc:
            self._failed(exc)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.last_failure = in_words(error)
        self._tell(error)
