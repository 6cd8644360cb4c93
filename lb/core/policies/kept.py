"""What a policy keeps of each backend that it has met: a latency, a digest.

A policy is not told when a backend leaves, so its entries are swept out when there are twice as many as after
the last sweep. A sweep for every new backend would look at a thousand entries a thousand times when a
thousand come; this way each entry costs a few looks in all.
"""

from collections.abc import Callable
from typing import TypeVar

from lb.core.backend import Backend

T = TypeVar("T")

FEW = 16
"""With no more entries than this there is no sweep."""


class Kept(dict[Backend, T]):
    """An entry for each backend that was asked for, made by `make` when it is asked for first."""

    def __init__(self, make: Callable[[Backend], T]) -> None:
        super().__init__()
        self._make = make
        self._sweep_at = FEW

    def __missing__(self, backend: Backend) -> T:
        if len(self) >= self._sweep_at:
            self._sweep()
        made = self[backend] = self._make(backend)
        return made

    def _sweep(self) -> None:
        """Drop the entries of backends that were removed."""
        for gone in [backend for backend in self if backend.removed]:
            del self[gone]
        self._sweep_at = max(FEW, 2 * len(self))
