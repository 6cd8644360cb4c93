"""What is known of handshakes with clients: how many, how long, and why the last refused ones were.

Handshakes are counted in the process that has the connection, by its `termination`. Whoever scans ports or
has an old client may be refused thousands of times a second. So of each reason the program's log gets a line
now and then, which says how many it stands for, and of those that say nothing about us it gets none.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec
import structlog

from lb.core.measures.histogram import Histogram
from lb.tls.refusal import HandshakeReason, Refusal

MOST_KEPT = 100
"""Refusals that are remembered. A port scanner costs a counter, and no more than this."""
QUIET_SECONDS = 10.0
"""After a line about a reason there is none about it for so long."""
UNLOGGED = frozenset({HandshakeReason.NOT_TLS, HandshakeReason.HUNG_UP, HandshakeReason.TOO_SLOW})

log = structlog.get_logger()


class HandshakeLog:
    """Counts every handshake, by listener; keeps the last that were refused.

    `done` is keyed by (listener, version, whether a session was resumed), `failed` by (listener, reason).
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._quiet_until: dict[HandshakeReason, float] = {}
        self._unlogged: Counter[HandshakeReason] = Counter()
        self.done: Counter[tuple[str, str, bool]] = Counter()
        self.failed: Counter[tuple[str, HandshakeReason]] = Counter()
        self.durations = Histogram()
        self._last: deque[Refusal] = deque(maxlen=MOST_KEPT)

    def succeeded(self, listener: str, version: str, is_resumed: bool, seconds: float) -> None:
        self.done[listener, version, is_resumed] += 1
        self.durations.observe(seconds)

    def refused(self, refusal: Refusal) -> None:
        self.failed[refusal.listener, refusal.reason] += 1
        self._last.append(refusal)
        if refusal.reason not in UNLOGGED:
            self._log(refusal)

    def _log(self, refusal: Refusal) -> None:
        now, reason = self._now(), refusal.reason
        if now < self._quiet_until.get(reason, now):
            self._unlogged[reason] += 1
            return
        self._quiet_until[reason] = now + QUIET_SECONDS
        log.warning(
            "handshake refused",
            reason=reason,
            peer=refusal.peer,
            listener=refusal.listener,
            server_name=refusal.server_name,
            sentence=refusal.sentence,
            untold=self._unlogged.pop(reason, 0),
        )

    def add(
        self,
        done: Iterable[tuple[str, str, bool, int]],
        failed: Iterable[tuple[str, str, int]],
        buckets: Mapping[int, int],
        seconds: float,
    ) -> None:
        """Add what another process has counted: the keys of `done` and `failed`, and how many."""
        for listener, version, is_resumed, count in done:
            self.done[listener, version, is_resumed] += count
        for listener, reason, count in failed:
            self.failed[listener, HandshakeReason(reason)] += count
        self.durations.add(buckets, seconds)

    def written(self, most: int) -> bytes:
        """The last refusals, at most so many, for another process."""
        return msgspec.msgpack.encode(self.last()[:most])

    def add_refusals(self, written: bytes) -> None:
        """Remember those that another process has written, in the order of their instants."""
        refusals = [*self._last, *msgspec.msgpack.decode(written, type=list[Refusal])]
        self._last = deque(sorted(refusals, key=attrgetter("at")), MOST_KEPT)

    def last(self) -> Sequence[Refusal]:
        """The last that were refused, the newest first."""
        return list(reversed(self._last))
