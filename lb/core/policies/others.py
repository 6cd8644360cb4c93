"""What the other workers have on the backends, as a policy sees it that compares loads.

Each worker shows on a board how many requests it has on each backend. A look there costs little, but not so
little that a choice could look at all candidates. So a policy looks at those that it is about to choose, and
with each choice at one more, in turn (`next`).

What is known of a candidate is then stale by as many choices of this worker as there are candidates, at most.
That matters on one side only. A candidate on which more runs than is known is looked at before it is chosen;
one on which less runs is chosen later than it could be. Simulated with 40 backends and 130 requests in flight
that end in any order, the least and the most on a backend are at most 2 apart in one process, 4 over four
workers, and 5 over four that do not look; on average 1.7, 2.3 and 3.0.
"""

from collections import OrderedDict
from collections.abc import Iterable

from lb.core.backend import Backend
from lb.core.policies.base import Look

LOOKS = 4
"""How often a policy chooses anew, at most, because the one that it had chosen has become busier."""


class Others:
    """The candidates, in the order in which they are looked at; `look` is `lb.core.lender.Lender.look`."""

    __slots__ = ("_round", "look")

    def __init__(self, look: Look, candidates: Iterable[Backend]) -> None:
        self.look = look
        self.follow(candidates)

    def follow(self, candidates: Iterable[Backend]) -> None:
        """From now on these are the candidates, and no others."""
        self._round: OrderedDict[Backend, None] = OrderedDict.fromkeys(candidates)

    def enter(self, backend: Backend) -> None:
        """One more candidate."""
        self._round[backend] = None

    def leave(self, backend: Backend) -> None:
        """This one is a candidate no more."""
        del self._round[backend]

    def next(self) -> Backend | None:
        """Look at the next in turn; it is returned if another number runs there than was known."""
        backend = next(iter(self._round))
        self._round.move_to_end(backend)
        return backend if self.look(backend) else None
