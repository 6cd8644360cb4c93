"""A pool: its backends, who takes the next request, and the queue when all are full.

Two rules hold after every function here. Caps are hard: nobody is ever above `max_in_flight`. And nobody
waits while a backend that may take the request is available; those who wait are served first come, first
served.
"""

from collections import deque
from collections.abc import Callable, Collection
from enum import Enum

from lb.core.backend import Backend, Running
from lb.core.decision import PassedOver
from lb.core.policy import POLICIES
from lb.errors import QueueFull, Unavailable

NOBODY: PassedOver = ()


class Turn(Enum):
    """What became of a wait in the queue."""

    WAITING = 0
    GRANTED = 1
    LEFT = 2
    REFUSED = 3


class Ticket:
    """A place in the queue. `wake` is called once: `backend` was taken for its holder, or none will be."""

    __slots__ = ("backend", "holder", "passed_over", "tried", "turn", "wake")

    def __init__(self, holder: Running, tried: Collection[Backend], wake: Callable[[], None]) -> None:
        self.holder = holder
        self.tried = tried
        self.wake = wake
        self.turn = Turn.WAITING
        self.backend: Backend | None = None
        self.passed_over: PassedOver = NOBODY


class Pool:
    """A named group of backends with one policy. Only the registry adds and removes backends."""

    __slots__ = ("_waiting", "backends", "name", "on_idle", "policy", "policy_name", "queue_limit")

    def __init__(self, name: str, policy: str, queue_limit: int) -> None:
        self.name = name
        self.policy_name = policy
        self.policy = POLICIES[policy]
        self.queue_limit = queue_limit
        self.backends: list[Backend] = []
        self.on_idle: Callable[[Backend], None] = lambda _backend: None
        self._waiting: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """How many stand in the queue."""
        return len(self._waiting)

    def take(self, holder: Running, tried: Collection[Backend] = ()) -> tuple[Backend | None, PassedOver]:
        """Choose a backend and count `holder` on it, or (None, why each was passed over).

        Whoever takes one gives it back with `release`, whatever happens. Nobody who waits is overtaken: what
        is available while there is a queue has been tried by everybody in it.
        """
        return self._choose(holder, tried)

    def _choose(self, holder: Running, tried: Collection[Backend]) -> tuple[Backend | None, PassedOver]:
        candidates = [b for b in self.backends if b.is_open and not (b.cap and len(b.running) >= b.cap)]
        if tried:
            candidates = [b for b in candidates if b not in tried]
        everybody = len(candidates) == len(self.backends)
        passed_over = NOBODY if everybody else self._reasons(tried)
        if not candidates:
            return None, passed_over
        backend = self.policy(candidates)
        backend.running.add(holder)
        return backend, passed_over

    def _reasons(self, tried: Collection[Backend]) -> PassedOver:
        reasons = ((b.id, "tried already" if b in tried else b.why_not()) for b in self.backends)
        return tuple((id, why) for id, why in reasons if why is not None)

    def release(self, backend: Backend, holder: Running) -> None:
        """Give back what `take` or a granted ticket took; the next in the queue gets the place."""
        backend.running.discard(holder)
        if self._waiting:
            self.serve_queue()
        if not backend.running and backend.drain is not None:
            self.on_idle(backend)

    def queue(self, holder: Running, tried: Collection[Backend], wake: Callable[[], None]) -> Ticket:
        """Stand in the queue. Raises `Unavailable` or `QueueFull` where waiting would be in vain."""
        if not self._is_worth_waiting(tried):
            raise Unavailable(self.explain(self._reasons(tried)))
        if len(self._waiting) >= self.queue_limit:
            raise QueueFull(f"{len(self._waiting)} requests wait already for pool {self.name!r}")
        ticket = Ticket(holder, tried, wake)
        self._waiting.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in the queue; a backend that was granted meanwhile is released."""
        if ticket.turn is Turn.WAITING:
            self._waiting.remove(ticket)
        elif ticket.turn is Turn.GRANTED and ticket.backend is not None:
            self.release(ticket.backend, ticket.holder)
        ticket.turn = Turn.LEFT

    def _is_worth_waiting(self, tried: Collection[Backend]) -> bool:
        return any(b.is_worth_waiting_for and b not in tried for b in self.backends)

    def serve_queue(self) -> None:
        """Hand what is available to those who wait, in the order in which they came."""
        for ticket in list(self._waiting):
            backend, passed_over = self._choose(ticket.holder, ticket.tried)
            if backend is not None:
                self._waiting.remove(ticket)
                ticket.backend, ticket.passed_over, ticket.turn = backend, passed_over, Turn.GRANTED
                ticket.wake()
            elif not ticket.tried:
                return

    def reconsider(self) -> None:
        """An operator has changed something: who waits may be served, or wait for nobody any more.

        The latter are told so now instead of at their timeout.
        """
        self.serve_queue()
        for ticket in list(self._waiting):
            if not self._is_worth_waiting(ticket.tried):
                self._waiting.remove(ticket)
                ticket.passed_over, ticket.turn = self._reasons(ticket.tried), Turn.REFUSED
                ticket.wake()

    def explain(self, passed_over: PassedOver) -> str:
        """Why there is no backend, in one sentence for people."""
        if not self.backends:
            return f"pool {self.name!r} has no backends"
        return "no backend is available: " + ", ".join(f"{id} ({why})" for id, why in passed_over)
