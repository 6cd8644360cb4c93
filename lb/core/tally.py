"""How the backends of a pool stand, counted as each of them changes.

A thousand backends may change in a second, as when a network breaks. If every change counted all of them
anew, that would be a million looks. So each backend tells its change here, and whoever wants a sum reads it.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar

READY, UP, EJECTED, TRIAL = 1, 2, 4, 8
"""The parts of a kind, added up: the wish is that it takes requests, no probe speaks against it, and what
exchanges have shown (neither of the last two while it is admitted)."""
TRIABLE = READY | UP | EJECTED
KINDS = range(16)
FEW = 16
"""With no more of the triable than this the heap keeps those that are no longer to be tried."""


class Counted(Protocol):
    """A backend, as far as it is counted here."""

    @property
    def kind(self) -> int: ...

    @property
    def ejected_until(self) -> float: ...


B = TypeVar("B", bound=Counted)


class Tally(Generic[B]):
    """The kinds of the backends of one pool.

    `unsettled` are those that are ejected or on trial, `ramping` those whose shares may grow; both in no
    order that means anything. `is_trusted_blindly`: the pool panics, which each looks at when it is derived.
    """

    __slots__ = ("_counts", "_next", "_numbers", "is_trusted_blindly", "ramping", "unsettled")

    def __init__(self) -> None:
        self._counts = [0] * len(KINDS)
        self.is_trusted_blindly = False
        self.unsettled: dict[B, None] = {}
        self.ramping: dict[B, None] = {}
        self._next: list[tuple[float, int, B]] = []
        self._numbers = count()

    def enter(self, backend: B) -> None:
        self._counts[backend.kind] += 1
        self._settle(backend)

    def leave(self, backend: B) -> None:
        self._counts[backend.kind] -= 1
        self.unsettled.pop(backend, None)
        self.ramping.pop(backend, None)

    def changed(self, backend: B, before: int) -> None:
        """The backend is of another kind than before."""
        self._counts[before] -= 1
        self._counts[backend.kind] += 1
        self._settle(backend)

    def _settle(self, backend: B) -> None:
        if backend.kind & (EJECTED | TRIAL):
            self.unsettled[backend] = None
        else:
            self.unsettled.pop(backend, None)
        if backend.kind == TRIABLE:
            self._line_up(backend)

    def _line_up(self, backend: B) -> None:
        """Put it in the heap of those that are to be tried. What is no longer to be tried stays there."""
        if len(self._next) > FEW + 2 * self.triable:
            self._next = [self._entry(each) for each in self.unsettled if each.kind == TRIABLE]
            heapify(self._next)
        else:
            heappush(self._next, self._entry(backend))

    def _entry(self, backend: B) -> tuple[float, int, B]:
        return backend.ejected_until, next(self._numbers), backend

    def next_to_be_tried(self) -> B | None:
        """Of the triable the one whose ejection ends first."""
        while self._next:
            until, _, backend = self._next[0]
            if backend in self.unsettled and backend.kind == TRIABLE and backend.ejected_until == until:
                return backend
            heappop(self._next)
        return None

    @property
    def ready(self) -> int:
        return sum(self._counts[kind] for kind in KINDS if kind & READY)

    @property
    def fit(self) -> int:
        """Those that are ready, and against which nothing speaks."""
        return sum(self._counts[kind] for kind in KINDS if kind & READY and kind & UP and not kind & EJECTED)

    @property
    def ejected(self) -> int:
        """Those that are ready and ejected."""
        return self._counts[READY | EJECTED] + self._counts[READY | UP | EJECTED]

    @property
    def triable(self) -> int:
        """Those of the ejected whose trial may begin: probes do not say that they are down."""
        return self._counts[TRIABLE]

    @property
    def unadmitted(self) -> int:
        """Those that are ready, and ejected or on trial."""
        return self.ejected + self._counts[READY | TRIAL] + self._counts[READY | UP | TRIAL]
