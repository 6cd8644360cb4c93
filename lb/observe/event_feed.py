"""The event feed: server-sent events for any number of readers, each event rendered once.

A publisher never waits. Each reader has a bounded queue; a reader whose queue is full is dropped and told so.
Events that only matter in their newest state (the numbers of each second, the progress of a drain) are not
queued: each reader has one place for each key, where a newer event replaces the older one. The last events
are kept for readers that reconnect and name the last id that they have seen. Ids grow over a restart too,
because the first one is the time; an id of an earlier process is simply too old.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec
import trio

KEPT = 1000
QUEUE = KEPT
"""Events that a reader may be behind. A reload may publish hundreds of events at once, which is no reason to
drop a reader. Frames are shared, so a place costs 8 bytes. A longer queue would not help: a reader that is
further behind cannot be sent the rest by a replay either."""
MOST_READERS = 200
PACE_SECONDS = 0.004
"""The pause between two readers, so that MOST_READERS are woken within one second."""


class Frame(NamedTuple):
    """One event as it is sent."""

    id: int
    type: str
    data: bytes

    @property
    def body(self) -> bytes:
        """The JSON of the event."""
        return self.data.partition(b"\ndata: ")[2]


def rendered(kind: str, data: object, number: int | None = None) -> bytes:
    """One event in the format of the HTML standard, section 9.2. The JSON of `data` has no line ends.

    Data that is encoded already, which may be megabytes, is copied once.
    """
    identity = b"" if number is None else b"id: %d\n" % number
    encoded = data if isinstance(data, msgspec.Raw) else msgspec.json.encode(data)
    return b"%bevent: %b\ndata: %b\n\n" % (identity, kind.encode(), encoded)


class Reader:
    """One connection that reads the feed. Its task calls `wait`, then `take`, until `is_over`."""

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
        """Queue an event; False, without queueing it, where the queue is full."""
        if len(self._queue) >= QUEUE:
            return False
        self._queue.append(frame)
        self._wake.set()
        return True

    def offer_latest(self, key: str, frame: Frame) -> None:
        """Replace the event under this key. It does not wake the reader; `wake_for_latest` does."""
        self._latest[key] = frame

    def wake_for_latest(self) -> bool:
        """Wake the reader if there is an event from `offer_latest` to take; whether there is one."""
        if self._latest:
            self._wake.set()
        return bool(self._latest)

    def end(self, why: str) -> None:
        """Let the next `take` be the last one; its last event says why."""
        self._why = self._why or why
        self._wake.set()

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._wake.wait()

    def take(self) -> bytes:
        """Every event that is waiting, in the order of ids. No event with a smaller id can follow."""
        self._wake = trio.Event()
        replayed, self._replayed = self._replayed, b""
        frames = sorted([*self._queue, *self._latest.values()])
        self._queue.clear()
        self._latest.clear()
        self.is_over = self._why is not None
        ending = b"" if self._why is None else rendered("ending", {"why": self._why})
        return replayed + b"".join(frame.data for frame in frames) + ending


class Feed:
    """The events of one balancer and their readers. `first` is the id before the first event."""

    def __init__(self, first: int) -> None:
        self._last = self._forgotten = first
        self._kept: deque[Frame] = deque()
        self._readers: set[Reader] = set()
        self._is_open = True
        self._most = MOST_READERS
        self.dropped = 0

    def open(self, most_readers: int = MOST_READERS) -> None:
        """Accept readers from now on."""
        self._is_open, self._most = True, most_readers

    def close(self, why: str) -> None:
        """End every reader, and each one that joins from now on."""
        self._is_open = False
        for reader in self._readers:
            reader.end(why)

    @property
    def readers(self) -> int:
        return len(self._readers)

    @property
    def is_full(self) -> bool:
        return len(self._readers) >= self._most

    def wants(self, kind: str) -> bool:
        """Whether any reader reads events of this kind. If not, the caller need not collect their data."""
        return any(kind in reader.types for reader in self._readers)

    def publish(self, kind: str, data: object) -> None:
        """Queue an event for its readers, and keep it. `data` must be something that msgspec can encode."""
        frame = self._frame(kind, data)
        self._kept.append(frame)
        if len(self._kept) > KEPT:
            self._forgotten = self._kept.popleft().id
        for reader in self._readers_of(kind):
            if not reader.offer(frame):
                self.drop(reader)

    def newest(self, types: frozenset[str], count: int) -> list[Frame]:
        """The newest `count` of the kept events of these types, the newest first."""
        return [*islice((frame for frame in reversed(self._kept) if frame.type in types), count)]

    def publish_latest(self, kind: str, key: str, data: object) -> None:
        """Replace the event under `key` for every reader of this kind; `hand_round` wakes them."""
        readers = self._readers_of(kind)
        if readers:
            frame = self._frame(kind, data)
            for reader in readers:
                reader.offer_latest(f"{kind} {key}", frame)  # the kind too: a backend may be called `stats`

    async def hand_round(self) -> None:
        """Wake the readers that `publish_latest` has something for, one by one with pauses.

        Each wakeup sends on a connection. Many at once would delay the traffic.
        """
        for reader in [*self._readers]:
            if reader.wake_for_latest():
                await trio.sleep(PACE_SECONDS)

    def drop(self, reader: Reader) -> None:
        """Remove a reader that is too slow. If its task takes once more, the last event says so."""
        if reader in self._readers:
            self._readers.remove(reader)
            self.dropped += 1
            reader.end("too slow")

    def join(self, types: frozenset[str], after: str | None = None) -> Reader:
        """A new reader of these types, from now on, or from the event after id `after`.

        The caller must hand it to `leave` in the end.
        """
        reader = Reader(types, b"" if after is None else b"".join(self._since(after, types)))
        if self._is_open:
            self._readers.add(reader)
        else:
            reader.end("stopping")
        return reader

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)

    def _frame(self, kind: str, data: object) -> Frame:
        self._last += 1
        return Frame(self._last, kind, rendered(kind, data, self._last))

    def _readers_of(self, kind: str) -> list[Reader]:
        return [reader for reader in self._readers if kind in reader.types]

    def _since(self, after: str, types: frozenset[str]) -> Iterator[bytes]:
        """The kept events after id `after`; before them an event `missed` where some are no longer kept."""
        seen = int(after) if after.isascii() and after.isdecimal() and len(after) < 20 else None
        if seen is None or seen > self._last:
            yield rendered("missed", {"after": after}, self._last)
            return
        if seen < self._forgotten:
            yield rendered("missed", {"after": after}, self._forgotten)
        yield from (frame.data for frame in self._kept if frame.id > seen and frame.type in types)
