"""What lies between OpenSSL and the sockets of one thread: the records that it reads and those it writes."""

import ssl

HEAD_BYTES = 5
"""The head of a record. The last two say how many bytes follow."""


class TlsMemory:
    """Two buffers, which are empty between two calls of a wire. So all wires of a thread may have the same.

    They keep the room that they once needed, as OpenSSL gives none back, and the wires need none.
    """

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()


def is_one_record(records: bytes) -> bool:
    """Whether this is one whole record, and nothing else."""
    return len(records) > HEAD_BYTES and (records[3] << 8 | records[4]) == len(records) - HEAD_BYTES
