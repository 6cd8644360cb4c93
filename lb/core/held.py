"""How many bytes are held for slow clients: by one exchange, and by all together.

An exchange may hold as much as its pool allows, but at most half of what is still free for all. So a few slow
clients cannot use up what the others need: each further one gets less, and none gets nothing.
"""


class Held:
    """The bytes that all exchanges hold, at most `most`. One for the whole balancer."""

    __slots__ = ("count", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0

    @property
    def free(self) -> int:
        """Negative where the limit was lowered since."""
        return self.most - self.count


class Share:
    """What one exchange holds, at most `most`; `peak` is the most that it has held at once.

    Its owner calls `close` at the end of the exchange.
    """

    __slots__ = ("_all", "count", "most", "peak")

    def __init__(self, everything: Held, most: int) -> None:
        self._all = everything
        self.most = most
        self.count = self.peak = 0

    @property
    def room(self) -> int:
        """How many more bytes the exchange may hold now; 0 or more."""
        return max(0, min(self.most - self.count, self._all.free // 2))

    def holds(self, count: int) -> None:
        """The exchange holds this many bytes now. One piece more than there was room for is accepted."""
        self._all.count += count - self.count
        self.count = count
        self.peak = max(self.peak, count)

    def close(self) -> None:
        """The exchange holds nothing any more."""
        self.holds(0)
