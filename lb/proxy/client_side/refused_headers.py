"""Connections that were refused for their PROXY header: counted each time, told in the log once in a while.

Mostly it is a health check, or a listener or a network that the operator forgot to set, and it comes again
every few seconds. So the log names an address once in ten minutes, and so many addresses at most.
"""

import structlog

from lb.observe.counters import Metrics
from lb.proxy.incoming import Peer

REASON = "proxy_header"
TELL_AGAIN_SECONDS = 600.0
MOST_ADDRESSES = 256
"""Addresses that are told within that time; who has a network of addresses fills no log with them."""

log = structlog.get_logger()


class Untold:
    """When an address was told, and how many of its connections were refused since."""

    __slots__ = ("count", "told_at")

    def __init__(self, told_at: float) -> None:
        self.told_at = told_at
        self.count = 0


class RefusedHeaders:
    """All that were refused in one process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told: dict[str, Untold] = {}  # in the order of their times

    def add(self, listener: str, accepted: Peer, why: str, now: float) -> None:
        """One was refused, at this time on any clock; `why` is a sentence."""
        self._metrics.listener(listener).rejected[REASON] += 1
        address, name = accepted
        before = self._told.get(address)
        if before is not None and now - before.told_at < TELL_AGAIN_SECONDS:
            before.count += 1
            return
        self._forget_old(now)
        if len(self._told) >= MOST_ADDRESSES:
            return
        self._told[address] = Untold(now)
        more = {} if before is None or not before.count else {"refused_since_last_told": before.count}
        log.warning("no usable PROXY header", listener=listener, peer=name, why=why, **more)

    def _forget_old(self, now: float) -> None:
        for address, untold in list(self._told.items()):
            if now - untold.told_at < TELL_AGAIN_SECONDS:
                return
            del self._told[address]
