"""Two pools that are alike: one that a policy follows, and one at which another looks anew each time."""

from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.base import Follows
from tests.core.scene import backends

STEPS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 40)), max_size=80)
"""What happens between choices: to which backend, and what, for `Twins.change`."""


class Twins:
    """`fast` are followed, `slow` are their doubles, and `candidates` those of `slow` that are there."""

    def __init__(self, weights: list[int], policy: Follows) -> None:
        self.policy = policy
        self.fast, self.slow = backends(*weights), backends(*weights)
        self.candidates = [*self.slow]
        policy.follow(self.fast)

    def change(self, at: int, what: int) -> bool:
        """Let one leave, come, or have another share; False where nothing was to be done."""
        one, other = (each[at % len(self.fast)] for each in (self.fast, self.slow))
        if what > 9:
            return False
        if other not in self.candidates:
            self._enter(one, other, one.share)
        elif what > 6:
            self._leave(one, other)
            self._enter(one, other, 10 + 40 * (what - 6))
        elif len(self.candidates) > 1:
            self._leave(one, other)
        return True

    def _leave(self, one: Backend, other: Backend) -> None:
        self.policy.leave(one)
        self.candidates.remove(other)

    def _enter(self, one: Backend, other: Backend, share: int) -> None:
        one.share = other.share = share
        self.policy.enter(one)
        self.candidates.append(other)
