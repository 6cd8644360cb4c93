"""What happens, for whoever listens: server-sent events, each rendered once, however many read them.

A publisher never waits and never learns who reads. Each reader has a queue of so many events; who lets it
fill up is dropped, and told so. Of what is only worth its newest state (the numbers of each second, how far
a drain is) a reader has one place for each kind, where the newer replaces the older. The last events are
kept for readers that come back and say which one they saw last. Ids grow, also over a restart, for the first
one is the time; so an id of the process before is simply too old.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec
import trio

KEPT = 1000
QUEUE = KEPT
"""A reload may tell of hundreds of backends at one moment, and who has to read that is not slow; frames are
shared, so a place costs 8 bytes. Who is further behind could not be told the rest by a replay either."""
MOST_READERS = 200
PACE_SECONDS = 0.004
"""Between one reader and the next: so many are through before the next second's numbers are there."""


class Frame(NamedTuple):
    """One event as it goes out."""

    id: int
    type: str
    data: bytes

    @property
    def body(self) -> bytes:
        """The JSON in it."""
        return self.data.partition(b"\ndata: ")[2]


def rendered(type: str, data: object, id: int | None = None) -> bytes:
    """One event in the format of the HTML standard, section 9.2; JSON has no line ends to take care of."""
    identity = b"" if id is None else b"id: %d\n" % id
    return b"%bevent: %b\ndata: %b\n\n" % (identity, type.encode(), msgspec.json.encode(data))


class Reader:
    """One who listens. `wait`, then `take`, until `is_over`."""

    __slots__ = ("_latest", "_queue", "_replayed", "_wake", "_why", "is_over", "types")

    def __init__(self, types: frozenset[str], replayed: bytes) -> None:
        self.types = types
        self.is_over = False
        self._replayed = replayed
        self._queue: deque[Frame] = deque()
        self._latest: dict[str, Frame] = {}
        self._wake = trio.Event()
        self._why: str | None = None
        if replayed:
            self._wake.set()

    def offer(self, frame: Frame) -> bool:
        """Queue an event; False, and nothing is, if it has no room."""
        if len(self._queue) >= QUEUE:
            return False
        self._queue.append(frame)
        self._wake.set()
        return True

    def offer_latest(self, key: str, frame: Frame) -> None:
        """An event in place of the one before under this key, if that is still there; nobody is woken."""
        self._latest[key] = frame

    def wake_for_latest(self) -> bool:
        """Wake whoever waits if there is something of that kind to take; whether there is."""
        if self._latest:
            self._wake.set()
        return bool(self._latest)

    def end(self, why: str) -> None:
        """The next `take` is the last, and says so behind what is in the queue."""
        self._why = self._why or why
        self._wake.set()

    async def wait(self) -> None:
        """Until there is something to take."""
        await self._wake.wait()

    def take(self) -> bytes:
        """All that has gathered, in the order of its ids; nothing with a smaller id can follow."""
        self._wake = trio.Event()
        replayed, self._replayed = self._replayed, b""
        frames = sorted([*self._queue, *self._latest.values()])
        self._queue.clear()
        self._latest.clear()
        self.is_over = self._why is not None
        ending = b"" if self._why is None else rendered("ending", {"why": self._why})
        return replayed + b"".join(frame.data for frame in frames) + ending


class Feed:
    """All events of one balancer. `first` is the id before the first event."""

    def __init__(self, first: int) -> None:
        self._last = self._forgotten = first
        self._kept: deque[Frame] = deque()
        self._readers: set[Reader] = set()
        self._is_open = True
        self._most = MOST_READERS
        self.dropped = 0

    def open(self, most_readers: int = MOST_READERS) -> None:
        """From now on readers may come."""
        self._is_open, self._most = True, most_readers

    def close(self, why: str) -> None:
        """End every reader, and each that comes from now on."""
        self._is_open = False
        for reader in self._readers:
            reader.end(why)

    @property
    def readers(self) -> int:
        return len(self._readers)

    @property
    def is_full(self) -> bool:
        return len(self._readers) >= self._most

    def wants(self, type: str) -> bool:
        """Somebody would read it: what is not kept need not be rendered otherwise."""
        return any(type in reader.types for reader in self._readers)

    def publish(self, type: str, data: object) -> None:
        """Tell everybody, and remember it; it neither raises nor waits. `data` is what msgspec can encode."""
        frame = self._frame(type, data)
        self._kept.append(frame)
        if len(self._kept) > KEPT:
            self._forgotten = self._kept.popleft().id
        for reader in self._who_reads(type):
            if not reader.offer(frame):
                self.drop(reader)

    def newest(self, types: frozenset[str], count: int) -> list[Frame]:
        """So many of those that are kept, the newest first."""
        return [*islice((frame for frame in reversed(self._kept) if frame.type in types), count)]

    def publish_latest(self, type: str, key: str, data: object) -> None:
        """Lay down for everybody what replaces all that was said under `key`; `hand_round` tells them."""
        readers = self._who_reads(type)
        if readers:
            frame = self._frame(type, data)
            for reader in readers:
                reader.offer_latest(f"{type} {key}", frame)  # a backend may be called `stats`

    async def hand_round(self) -> None:
        """Tell everybody what was laid down for them, one after another and with pauses.

        What it costs to send is 0.1 ms for each reader, and all at once would be felt by the traffic.
        """
        for reader in [*self._readers]:
            if reader.wake_for_latest():
                await trio.sleep(PACE_SECONDS)

    def drop(self, reader: Reader) -> None:
        """It is too slow; if it ever comes to read again, that is what it reads."""
        if reader in self._readers:
            self._readers.remove(reader)
            self.dropped += 1
            reader.end("too slow")

    def join(self, types: frozenset[str], after: str | None = None) -> Reader:
        """A reader of these types, from now on or from behind the event `after`; it has to `leave`."""
        reader = Reader(types, b"" if after is None else b"".join(self._since(after, types)))
        if self._is_open:
            self._readers.add(reader)
        else:
            reader.end("stopping")
        return reader

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)

    def _frame(self, type: str, data: object) -> Frame:
        self._last += 1
        return Frame(self._last, type, rendered(type, data, self._last))

    def _who_reads(self, type: str) -> list[Reader]:
        return [reader for reader in self._readers if type in reader.types]

    def _since(self, after: str, types: frozenset[str]) -> Iterator[bytes]:
        """What was missed, as far as it is known, behind a word about what is not."""
        seen = int(after) if after.isascii() and after.isdecimal() and len(after) < 20 else None
        if seen is None or seen > self._last:
            yield rendered("missed", {"after": after}, self._last)
            return
        if seen < self._forgotten:
            yield rendered("missed", {"after": after}, self._forgotten)
        yield from (frame.data for frame in self._kept if frame.id > seen and frame.type in types)
