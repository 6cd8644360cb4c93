"""How the backends of a pool stand, counted as each of them changes.

A thousand backends may change in a second, as when a network breaks. If every change counted all of them
anew, that would be a million looks. So each backend tells its change here, and whoever wants a sum reads it.
"""

from typing import Generic, Protocol, TypeVar

READY, UP, EJECTED, TRIAL = 1, 2, 4, 8
"""The parts of a kind, added up: the wish is that it takes requests, no probe speaks against it, and what
exchanges have shown (neither of the last two while it is admitted)."""
KINDS = range(16)


class Counted(Protocol):
    """A backend, as far as it is counted here."""

    @property
    def kind(self) -> int: ...


B = TypeVar("B", bound=Counted)


class Tally(Generic[B]):
    """The kinds of the backends of one pool.

    `unsettled` are those that are ejected or on trial, `ramping` those whose shares may grow; both in no
    order that means anything.
    """

    __slots__ = ("_counts", "ramping", "unsettled")

    def __init__(self) -> None:
        self._counts = [0] * len(KINDS)
        self.unsettled: dict[B, None] = {}
        self.ramping: dict[B, None] = {}

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
        return self._counts[READY | UP | EJECTED]

    @property
    def unadmitted(self) -> int:
        """Those that are ready, and ejected or on trial."""
        return self.ejected + self._counts[READY | TRIAL] + self._counts[READY | UP | TRIAL]
