"""How long bytes of a response have waited for the client to take them, as far as that excuses a backend."""

from lb.core.health.blame import PATIENCE_SECONDS


class ClientWaits:
    """The waits of one exchange; times are on Trio's clock, in seconds."""

    __slots__ = ("_ended", "_last", "since", "total")

    def __init__(self, now: float) -> None:
        self._last = 0.0
        self._ended = 0.0
        self.total = 0.0
        self.since = now
        """When bytes were last given to the client, or last taken by it."""

    def ended(self, now: float) -> None:
        """The client has taken what was given to it at `since`."""
        self._last, self._ended = now - self.since, now
        self.total += self._last
        self.since = now

    def excuse(self, began: float, now: float, is_behind: bool) -> float:
        """Seconds that excuse a backend which breaks off now; `is_behind`: bytes wait for the client.

        The wait of now, or one that has just ended. All waits together, if the client has taken longer than
        the backend since the response `began`: a backend may bound the time of a whole response.
        """
        if is_behind:
            return now - self.since
        if self.total >= (now - began) / 2:
            return self.total
        return self._last if now - self._ended < PATIENCE_SECONDS else 0.0
