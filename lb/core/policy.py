"""The policies: which of the available backends takes the next request.

A policy sees only candidates that may take the request; who is draining or full is not its business
(pingora's split). It keeps its position on the backends themselves, so that one that comes or goes
disturbs nobody else's turn.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from lb.core.backend import Backend


class Policy(Protocol):
    """Chooses one of the candidates, of which there is always at least one."""

    def __call__(self, candidates: Sequence[Backend]) -> Backend: ...


def round_robin(candidates: Sequence[Backend]) -> Backend:
    """Smooth weighted round robin, as nginx describes it: weights 5, 1, 1 give a a b a c a a.

    Each candidate gains its weight, the largest is chosen and pays the sum. With n equal weights any n
    choices in a row go to n backends. O(n), and exact: no chance is in it.
    """
    best, total = candidates[0], 0
    for backend in candidates:
        weight = backend.spec.weight
        backend.turn += weight
        total += weight
        if backend.turn > best.turn:
            best = backend
    best.turn -= total
    return best


def least_requests(candidates: Sequence[Backend]) -> Backend:
    """The fewest in flight for its weight; round robin among equals, so that an idle pool rotates."""
    least = min(len(backend.running) / backend.spec.weight for backend in candidates)
    return round_robin([b for b in candidates if len(b.running) / b.spec.weight == least])


POLICIES: dict[str, Callable[[Sequence[Backend]], Backend]] = {
    "round_robin": round_robin,
    "least_requests": least_requests,
}
