"""Smooth weighted round robin (as nginx describes it) that stays fair while candidates come and go.

Each backend has a *turn*: the requests that it is owed, counted in ONEs. With every request each candidate
gains its share of that request, and the one that is owed most is chosen and pays for all of it. Weights 5, 1
and 1 give a a b a c a a; with n equal weights any n choices in a row go to n backends. It uses no chance.

nginx counts in weights, and there a request costs more the more candidates there are: what was saved up in a
large set buys far too many requests in a small one. Counted in requests, a turn is worth the same in any set.
So a backend that is passed over, full or draining simply keeps its turn, and a weight may change at any time.

What holds, for any sequence of candidates and shares: all turns add up to 0, and any k of a pool's n backends
are together owed at most k(n-k)/2. So each has always had the sum of its exact shares, give or take (n-1)/2
requests, and in any stretch of time its share of that stretch, give or take n-1. While the candidates stay
the same, from the start on, no backend is ever a whole request ahead. This is Fagin and Williams's carpool
problem, in which no rule that cannot see the future does better (Coppersmith, Nowicki, Paleologo, Tresser and
Wu, "The optimality of the online greedy algorithm in carpool and chairman assignment problems"). A backend
that has left is one of the n until the others have divided what it was owed (`hand_over`).

The proof is by induction over the requests. Let j be chosen, and A be k backends. With j in A, or without any
candidate in A, A is owed no more than before. Otherwise let i be a candidate in A. j was owed at least as
much as i and has paid one, so now i is owed at most one more than j: A, twice, is owed at most what A and j
together, A without i, and one are: (f(k+1) + f(k-1) + 1) / 2 = f(k) for f(k) = k(n-k)/2.

`choose` does this as it is told here, with a look at each candidate. Among candidates that it follows
(`lb.core.policies.rotation`) the policy makes the very same choices, without one.
"""

from collections.abc import Collection, Sequence

from lb.core.backend import Backend
from lb.core.policies.base import Asking
from lb.core.policies.rotation import ONE, Rotation


class RoundRobin(Rotation):
    """In turn, each as often as its share says."""

    __slots__ = ("_last_grain", "_last_total")

    def __init__(self) -> None:
        super().__init__()
        self._last_total = 0
        self._last_grain = 0

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        """One pass, O(n). It assumes that the shares add up to the same total as the last time."""
        grain, total = self._last_grain, 0
        best = candidates[0]
        most = best.turn
        for backend in candidates:
            share = backend.share
            total += share
            turn = backend.turn = backend.turn + share * grain
            if turn > most:
                best, most = backend, turn
        if total != self._last_total:
            return self._choose_anew(candidates, total, request)
        best.turn = most - total * grain
        return best

    def _choose_anew(self, candidates: Sequence[Backend], total: int, request: Asking) -> Backend:
        for backend in candidates:
            backend.turn -= backend.share * self._last_grain
        self._last_total, self._last_grain = total, ONE // total
        return self.choose(candidates, request)


def hand_over(leavers: int, remaining: Collection[Backend]) -> None:
    """Divide among the remaining backends of a pool what so many that have left are owed, or owe.

    An equal part for each would keep the sum at 0 but could break the bound, which is tighter for the m
    backends that remain when one leaves. Shrunk by m/(m+2) the turns keep it: with p = k/m,
    (1-p) f(k) + p f(k+1) of m+1 backends is exactly (m+2)/m times the f(k) of m.

    From n to m backends the factors multiply to m(m+1) / n(n+1). All turns added up to 0, so what the leavers
    were owed is what is missing now.
    """
    left = len(remaining)
    if not left:
        return
    whole, kept = (left + leavers) * (left + leavers + 1), left * (left + 1)
    for backend in remaining:
        backend.turn = backend.turn * kept // whole
    added, rest = divmod(-sum([backend.turn for backend in remaining]), left)
    for backend in remaining:
        backend.turn += added
    min(remaining, key=lambda backend: backend.turn).turn += rest
