"""Accepting evenly: a worker leaves a connection to the others while it has more of them than they.

All workers accept from the same sockets, so the kernel wakes all of them, and the quickest takes the
connection: often one that is idle, and often the same one. Long-lived connections would heap up there. Hence
each shows on the board how many it has open, and one that is ahead waits a moment before it accepts
(`lb.proxy.acceptor`), as Envoy's exact balance does with a lock.

A worker that was stopped or hangs would always have the fewest. So each also shows when it was last ready to
accept, and one whose beat is old does not count.
"""

import time

import trio

from lb.workers.board import BEAT, CLIENTS, Board

SLACK = 2
"""A worker may be ahead by so many connections,"""
SLACK_SHARE = 16
"""or by one in so many of what the others have."""
BEAT_SECONDS = 0.2
OLD = 10
"""Tenths of a second after which a beat is old."""


def allowance(mine: int, others: list[int]) -> int:
    """How many more connections this worker may take, which has `mine`, before it is ahead of the others."""
    if not others:
        return 1 << 30
    least = min(others)
    return max(0, least + max(SLACK, least // SLACK_SHARE) - mine)


class SharedEvenness:
    """One worker's view of the others, on the board (`lb.proxy.acceptor.Evenness`)."""

    def __init__(self, board: Board, column: int) -> None:
        self._board = board
        self._column = column

    def allowance(self, count: int) -> int:
        """How many more this worker, which has `count` open, may accept now."""
        now, counts, beats = _now(), self._board.shown(CLIENTS), self._board.shown(BEAT)
        others = [
            counts[column]
            for column, beat in enumerate(beats)
            if column != self._column and beat and now - beat <= OLD
        ]
        return allowance(count, others)

    def show(self, count: int) -> None:
        """This worker has so many open."""
        self._board.show(CLIENTS, count)

    async def beat(self) -> None:
        """Show that this worker accepts, until cancelled."""
        try:
            while True:
                self._board.show(BEAT, _now())
                await trio.sleep(BEAT_SECONDS)
        finally:
            self._board.show(BEAT, 0)


def silent_for(board: Board, column: int) -> float:
    """For how many seconds the worker of this column has not shown that it accepts; 0 if it shows nothing."""
    beat = board.shown(BEAT)[column]
    return (_now() - beat) / 10 if beat else 0.0


def _now() -> int:
    """Tenths of a second of a clock that all processes share; never 0, and it fits into a cell for years."""
    return int(time.monotonic() * 10) + 1
