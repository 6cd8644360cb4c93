"""A keeper and workers in one process, whose messages arrive when a test says so."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any
from unittest.mock import Mock

from lb.core.backend import Backend
from lb.core.lending import Ledger, Lend, Uses
from lb.core.lent_out import LentOut, Rows, share_all
from lb.core.lent_places import LentPlaces
from lb.core.mirror import Mirror, State, state_of, state_of_pool
from lb.core.pool import Pool
from lb.core.registry import Event, PoolEvent
from lb.core.request_queue import Turn
from lb.errors import QueueFull, Unavailable
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings
from tests.core.scene import Clock, Request, registry

FIRST_ROW = 16


@dataclass
class Caps:
    """Markers among what a worker is told: the caps that are in force for whoever has heard them."""

    caps: dict[str, float]


class Waiting(Request):
    """A request of one worker: in its queue, or on a backend."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self.worker = worker
        self.backend: Backend | None = None
        self.why: str | None = None
        self.is_waiting = False

    def begin(self) -> "Waiting":
        pool = self.worker.pool
        backend, _ = pool.take(self)
        if backend is None:
            try:
                self.ticket = pool.queue(self, (), self._woken)
            except (QueueFull, Unavailable) as error:
                self.why = str(error)
                return self
            self.is_waiting = True
        else:
            self._has(backend)
        return self

    def _woken(self) -> None:
        self.is_waiting = False
        if self.ticket.turn is Turn.REFUSED:
            self.why = "refused"
            return
        assert self.ticket.backend is not None
        self._has(self.ticket.backend)

    def _has(self, backend: Backend) -> None:
        self.backend = backend
        self.worker.running.append(self)
        self.worker.world.began(backend)

    def end(self) -> None:
        assert self.backend is not None
        self.worker.running.remove(self)
        self.worker.pool.release(self.backend, self)


class Column:
    """The cells of one worker on the board."""

    def __init__(self, world: "World", worker: int) -> None:
        self._world = world
        self._worker = worker

    def __setitem__(self, row: int, number: int) -> None:
        self._world.board[row, self._worker] = number


class Worker:
    """A process: its registry, what it was lent, and what is on the way between it and the keeper."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.down: deque[Lend | State | Caps] = deque()
        self.up: deque[Uses] = deque()
        self.running: list[Waiting] = []
        self.known: dict[str, float] = {}
        self.registry = registry(world.clock)
        self.mirror = Mirror(self.registry, Mock())
        self.lent = LentPlaces(
            self.registry.pools,
            self.registry.backends,
            self.up.append,
            self._soon,
            Column(world, number),
            world.total,
        )
        self.registry.subscribe(self.lent.on_event)
        share_all(self.registry, self.lent)
        self.is_due = False
        self.due: float | None = None

    def _soon(self) -> None:
        self.is_due = True

    @property
    def pool(self) -> Pool:
        return self.registry.pools["default"]

    def hear(self) -> None:
        """The next message from the keeper."""
        match self.down.popleft():
            case Lend() as lend:
                self.lent.hear(lend, self.world.clock.now)
            case Caps(caps):
                self.known = caps
            case state:
                self.mirror.take([state])

    def settle(self) -> None:
        """The turn of the loop in which it gives back and asks."""
        if self.is_due or (self.due is not None and self.due <= self.world.clock.now):
            self.is_due = False
            self.due = self.lent.settle(self.world.clock.now)

    def request(self) -> Waiting:
        return Waiting(self).begin()


@dataclass
class World:
    """A keeper with so many workers; `check` is called when a request has begun on a backend."""

    count: int
    settings: PoolSettings = field(default_factory=lambda: PoolSettings(queue=100))
    check: Callable[[Backend, int], None] = lambda _backend, _count: None

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.board: Counter[tuple[int, int]] = Counter()
        self.workers: dict[int, Worker] = {}
        self.told = 0
        self.ledger = Ledger(self.count, self._lend)
        self.registry = registry(self.clock)
        self.registry.add_pool("default", self.settings)
        self.lent = LentOut(
            self.registry, self.ledger, Rows(FIRST_ROW, FIRST_ROW + 100), lambda: lambda: False
        )
        self.registry.subscribe(self._on_event, self._on_pool_event)

    def total(self, row: int) -> int:
        return sum([number for (each, _), number in self.board.items() if each == row])

    def _lend(self, number: int, lend: Lend) -> None:
        self.told += 1
        self.workers[number].down.append(lend)

    def _on_event(self, event: Event) -> None:
        self._tell(lambda: state_of(self.registry, event.backend.id))

    def _on_pool_event(self, event: PoolEvent) -> None:
        self._tell(lambda: state_of_pool(self.registry, event.pool.name))

    def _tell(self, state: Callable[[], State]) -> None:
        for worker in self.workers.values():
            worker.down.append(state())
            worker.down.append(self._caps())

    def _caps(self) -> Caps:
        caps = {each.id: inf if each.cap is None else each.cap for each in self.registry.backends.values()}
        cap = self.registry.pools["default"].cap
        return Caps({**caps, "the pool": inf if cap is None else cap})

    # -- what a test does ------------------------------------------------------------------------------

    def start(self, number: int) -> Worker:
        worker = self.workers[number] = Worker(self, number)
        self.ledger.join(number)
        worker.down.append(state_of_pool(self.registry, "default"))
        for name in self.registry.backends:
            worker.down.append(state_of(self.registry, name))
        worker.down.append(self._caps())
        worker.known = self._caps().caps
        return worker

    def kill(self, number: int) -> None:
        del self.workers[number]
        for each in [each for each in self.board if each[1] == number]:
            del self.board[each]
        self.ledger.leave(number)

    def add(self, name: str, cap: int | None, **more: Any) -> Backend:
        spec = BackendSpec(id=name, url=f"http://{name}.test", max_in_flight=cap, **more)
        return self.registry.add(spec, source="config")[0]

    def cap(self, name: str, cap: int | None) -> None:
        backend = self.registry.backend(name)
        spec = BackendSpec(id=name, url=backend.spec.url, max_in_flight=cap)
        self.registry.change(backend, spec)

    def in_flight(self, name: str) -> int:
        """How many requests run on the backend of this name, as it would count them itself."""
        every = [each for worker in self.workers.values() for each in worker.running]
        return len([each for each in every if each.backend is not None and each.backend.id == name])

    @property
    def all_have_heard(self) -> bool:
        """Nothing that the keeper has said is on its way."""
        return not any(worker.down for worker in self.workers.values())

    @property
    def running(self) -> int:
        return sum([len(worker.running) for worker in self.workers.values()])

    @property
    def waiting(self) -> int:
        return sum([worker.pool.waiting for worker in self.workers.values()])

    def began(self, backend: Backend) -> None:
        self.check(backend, self.in_flight(backend.id))

    def in_force(self, name: str) -> float:
        """The cap that all have heard of: until then an earlier one may still be kept to."""
        known = [worker.known for worker in self.workers.values()]
        known += [
            each.caps for worker in self.workers.values() for each in worker.down if isinstance(each, Caps)
        ]
        return max([caps.get(name, inf) for caps in (*known, self._caps().caps)])

    def trip(self) -> None:
        """All that is on the way arrives, each worker has a turn, and what it says arrives too."""
        for worker in [*self.workers.values()]:
            for _ in range(len(worker.down)):
                worker.hear()
            worker.settle()
        for number, worker in self.workers.items():
            for _ in range(len(worker.up)):
                self.ledger.heard(number, worker.up.popleft())

    def trips(self, count: int = 6, seconds: float = 0.001) -> None:
        for _ in range(count):
            self.trip()
            self.clock.now += seconds


def world(count: int, *caps: int | None, **settings: Any) -> World:
    """A world with all its workers, and backends a, b, c, ... of these caps; all is told."""
    made = World(count, PoolSettings(**{"queue": 100, **settings}))
    for number, cap in enumerate(caps):
        made.add(chr(97 + number) if number < 26 else f"n{number}", cap)
    for number in range(1, count + 1):
        made.start(number)
    made.trips()
    return made
