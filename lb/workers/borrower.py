"""What a worker does with its lent places (`lb.core.lent_places`), once in each turn of the loop."""

from collections.abc import Callable
from math import inf

import trio

from lb.core.lending import Lend, Uses
from lb.core.lent_out import share_all
from lb.core.lent_places import LentPlaces
from lb.core.registry import Registry
from lb.workers.board import Board


class Borrower:
    """The places of a worker: `run` gives back and asks. `tell` sends the keeper what is said."""

    def __init__(self, registry: Registry, board: Board, tell: Callable[[Uses], None]) -> None:
        self._news = trio.Event()
        self.lent = LentPlaces(registry.pools, registry.backends, tell, self._soon, board.mine, board.total)
        registry.subscribe(self.lent.on_event)
        share_all(registry, self.lent)

    def _soon(self) -> None:
        self._news.set()

    def hear(self, lend: Lend) -> None:
        """The keeper has lent, or wants back."""
        self.lent.hear(lend, trio.current_time())

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            self._news = trio.Event()
            due = self.lent.settle(trio.current_time())
            with trio.move_on_at(inf if due is None else due):
                await self._news.wait()
