"""Places for clients: how many may be connected at once, and which idle ones are closed to make room.

The limit on connections protects the process, so it is never exceeded. When every place is taken, the
connections that have been idle longest are closed, as nginx does. Otherwise idle clients would keep out
clients that have a request. Meanwhile the kernel's backlogs hold what arrives.
"""

from collections import Counter
from collections.abc import Sequence
from heapq import nsmallest

import structlog
import trio

from lb.core.secured import Secured
from lb.observe.counters import Metrics
from lb.proxy.client_side.connection import ClientConnection

IDLE_SECONDS = 1.5
"""A connection that has been idle for less may be about to send its request."""
SHARE_CLOSED = 50
"""One in this many connections is closed at a time, so that few accepts look at all clients."""

log = structlog.get_logger()


class Places:
    """The client connections that are open, and the tasks that wait until there is room for another."""

    def __init__(self, clients: set[ClientConnection], metrics: Metrics, most: int) -> None:
        self._clients = clients
        self._metrics = metrics
        self._most = most
        self._addresses = metrics.addresses
        self._full_addresses: set[str] = set()
        self._subjects: Counter[str] = Counter()
        self._full_subjects: set[str] = set()
        self._waiting = trio.lowlevel.ParkingLot()
        self._reserved = 0

    def limit(self, most: int) -> None:
        """Set the limit. Connections above a lower limit stay."""
        self._most = most
        self._changed()

    @property
    def free(self) -> int:
        """How many more clients may connect now."""
        return max(0, self._most - self.taken)

    @property
    def taken(self) -> int:
        """How many clients are connected, those included whose connections are not open yet."""
        return len(self._clients) + self._reserved

    def clients(self) -> Sequence[ClientConnection]:
        """Every client that has a place, at this moment."""
        return list(self._clients)

    def of(self, address: str) -> int:
        """How many places a client address has."""
        return self._addresses[address]

    def refused(self, address: str) -> None:
        """A connection was refused, as its address has every place that it may have.

        Logged once, until the address has left altogether.
        """
        if address not in self._full_addresses:
            self._full_addresses.add(address)
            log.warning(
                "an address has every place that it may have", address=address, places=self.of(address)
            )

    def with_certificate(self, subject: str) -> int:
        """How many places a client has that shows certificates with this subject."""
        return self._subjects[subject]

    def refused_certificate(self, subject: str) -> None:
        """As `refused`, for the owner of a certificate."""
        if subject not in self._full_subjects:
            self._full_subjects.add(subject)
            places = self.with_certificate(subject)
            log.warning("a client has every place that it may have", certificate=subject, places=places)

    def take(self, client: ClientConnection) -> None:
        """Give a place to a client that was accepted."""
        self._clients.add(client)
        if (subject := subject_of(client.secured)) is not None:
            self._subjects[subject] += 1
        self._count(client.address)

    def give_back(self, client: ClientConnection) -> None:
        """The connection of a client has ended."""
        self._clients.discard(client)
        if (subject := subject_of(client.secured)) is not None:
            self._subjects[subject] -= 1
            if not self._subjects[subject]:
                del self._subjects[subject]
                self._full_subjects.discard(subject)
        self._count_off(client.address)

    def reserve(self, address: str) -> None:
        """Keep a place for a client whose connection is not open yet, until `release`."""
        self._reserved += 1
        self._count(address)

    def release(self, address: str) -> None:
        """The connection for which a place was kept is open now, and takes one, or it has failed."""
        self._reserved -= 1
        self._count_off(address)

    def _count(self, address: str) -> None:
        self._addresses[address] += 1
        if self.taken >= self._most:
            self._look_whether_full()

    def _count_off(self, address: str) -> None:
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
            self._full_addresses.discard(address)
        if self._waiting or self._metrics.full_since is not None:
            self._changed()

    async def wait_for_room(self) -> None:
        """Wait until a client may connect. Connections that have been idle longest are closed for it."""
        while not self.free:
            self.close_idle()
            await self._waiting.park()

    async def wait_until_empty(self) -> None:
        """Wait until no client is connected."""
        while self.taken:
            await self._waiting.park()

    def _changed(self) -> None:
        """Wake every task that waits: there is room now, for one of them at least."""
        self._look_whether_full()
        self._waiting.unpark_all()

    def close_idle(self) -> None:
        """Begin to close the connections that have been idle longest, if there are any."""
        now = trio.current_time()
        idle = [client for client in self._clients if client.is_idle and client.idle_for(now) >= IDLE_SECONDS]
        count = max(1, len(self._clients) // SHARE_CLOSED)
        for client in nsmallest(count, idle, key=lambda client: -client.idle_for(now)):
            self._metrics.connections_evicted += 1
            client.make_room()

    def _look_whether_full(self) -> None:
        is_full = not self.free
        if is_full and self._metrics.full_since is None:
            self._metrics.full_since = trio.current_time()
            log.warning("every place for clients is taken", places=self._most)
        elif not is_full and self._metrics.full_since is not None:
            seconds = round(trio.current_time() - self._metrics.full_since, 3)
            self._metrics.full_since = None
            log.info("there are places for clients again", places=self._most, seconds=seconds)


def subject_of(secured: Secured | None) -> str | None:
    """What tells the owner of the client's certificate from others; None where it has shown none."""
    if secured is None or secured.certificate is None:
        return None
    from lb.tls.client_subject import distinct_subject_of

    return distinct_subject_of(secured.certificate)
