"""Numbers that the workers show each other, in memory that they share: no message, no system call.

The board has a row for each number and a column for each worker. A worker writes its own column only and may
read all of them; the keeper reads, and clears the column of a worker that has died. So each cell has one
writer, and needs no lock: a cell is one aligned word, which is read as it was written, before or after.

The first rows are the *headers*, which say something of a worker as a whole; each of the others is about one
backend or one pool (`lb.core.lent_out.Rows`). The memory is a file without a name, which the workers inherit
as a descriptor. It has room for many more rows than there are backends: pages that nobody touches do not
exist.
"""

import mmap
import os
import tempfile
from struct import Struct

HEADERS = 16
"""The first rows. Which of them means what is said by the constants here."""
CLIENTS = 0
"""The header of the client connections that a worker has open."""
BEAT = 1
"""The header of the last moment at which a worker was ready to accept (`lb.workers.evenness`)."""
ROWS = 1 << 17
"""Headers included. What has no row is not shown to the others."""
CELL = 4


class Board:
    """The shared memory, as one process sees it; `column` is its own, None in the keeper. `close` it.

    It owns the descriptor `fd`. `mine` has the cells of its own column by their rows, to be written; none in
    the keeper.
    """

    def __init__(self, fd: int, workers: int, column: int | None = None) -> None:
        self.fd = fd
        self._workers = workers
        self._memory = mmap.mmap(fd, ROWS * workers * CELL)
        self._cells = memoryview(self._memory).cast("i")
        self._row = Struct(f"{workers}i")
        self.mine = self._cells[:0] if column is None else self._cells[column::workers]

    @classmethod
    def made(cls, workers: int) -> "Board":
        """A new board for so many workers, on which all is 0: the keeper's."""
        fd = _nameless()
        os.ftruncate(fd, ROWS * workers * CELL)
        return cls(fd, workers)

    def show(self, row: int, number: int) -> None:
        """Write a cell of this process's own column."""
        self.mine[row] = number

    def shown(self, row: int) -> list[int]:
        """What each worker shows in this row, in the order of their columns."""
        return [*self._row.unpack_from(self._memory, row * self._row.size)]

    def total(self, row: int) -> int:
        """What all workers show in this row, added up."""
        return sum(self._row.unpack_from(self._memory, row * self._row.size))

    def clear(self, column: int, rows: int) -> None:
        """The worker of this column is no more: it shows 0 in the first rows, so many as were ever used."""
        self._cells[column : rows * self._workers : self._workers] = memoryview(bytes(rows * CELL)).cast("i")

    def close(self) -> None:
        """Let go of the memory; the other processes keep it."""
        self.mine.release()
        self._cells.release()
        self._memory.close()
        os.close(self.fd)


def _nameless() -> int:
    """A file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("lb-board")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
