"""What a pool asks where several processes share the places of its backends (`lb.core.lent_places`).

With one process there is no lender, and nothing is asked.
"""

from collections.abc import Iterable
from typing import Protocol

from lb.core.backend import Backend, LendsPlaces


class SharedPool(Protocol):
    """A pool, as far as its places are concerned."""

    name: str
    row: int
    cap: int | None
    in_flight: int


class Lender(LendsPlaces, Protocol):
    """Who knows how many places of pools and backends are here, and gets more."""

    def pool_cap(self, pool: SharedPool, cap: int | None) -> int | None:
        """How many requests may run in the pool here, where `cap` may in all."""
        ...

    def moved(self, pool: SharedPool, backend: Backend) -> None:
        """One more request runs on the backend, or one less."""
        ...

    def waits(self, pool: SharedPool) -> None:
        """Another number of requests waits in the queue of the pool."""
        ...

    def missed(self, pool: SharedPool, backends: Iterable[Backend]) -> None:
        """A request would have gone to one of these, had there been a place for it here."""
        ...

    def look(self, backend: Backend) -> bool:
        """Work out `Backend.others` anew; whether it has changed."""
        ...

    def on_their_way(self, pool: SharedPool) -> int:
        """How many places that are not here nobody uses."""
        ...
