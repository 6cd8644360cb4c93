"""A keeper's registry, links and workers in one process, in which nothing happens but what a test does.

Messages are encoded and wait, in their order, until the test delivers them. Requests are taken from the pools
of the workers and run until the test ends them. A worker that dies does nothing more; later the keeper
notices, and another one starts under its number. What must hold at any moment is checked where it could be
broken: when a worker chooses a backend, and when a drain ends.
"""

import os
import socket
from collections import Counter, deque
from collections.abc import Iterator
from functools import cache
from math import inf
from typing import Any, cast

import msgspec
import trio
import trio.testing

from lb.config.loader import build
from lb.core.backend import Backend
from lb.core.drain import Drain, Outcome, Then
from lb.core.health.ejection import Standing
from lb.core.health.probe_verdict import Check
from lb.core.mirror import BackendState, state_of, state_of_pool
from lb.core.pool import Pool, Ticket
from lb.core.registry import Conflict, Event, Registry
from lb.errors import Unavailable
from lb.net.resolver import Names
from lb.observe.counters import Metrics
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import Ejection, PoolSettings, Probe, Sticky
from lb.settings.tls_settings import CertificateFiles, TlsSettings
from lb.slices import to_the_end
from lb.workers import told_termination
from lb.workers.accounts import Accounts
from lb.workers.channel import Channel
from lb.workers.fleet import Fleet
from lb.workers.link import Link
from lb.workers.messages import Accepted, Batch, Begin, Down, Serving, Started, TlsFiles, Up
from lb.workers.worker import Worker
from tests.core.scene import Request, registry, spec, tie
from tests.kit.certificates import certificate

KEY = b"k" * 32
NO_PID = 2**30
"""No process has this number, so a signal for it reaches nobody."""
IDS = "abcd"
POOLS = ("default", "other")
LATE_POOL = "late"
MOST_ROUNDS = 100
TIMEOUTS = (0.0, 5.0, 60.0, None)
SECONDS = (0.0, 1.0, 10.0, 60.0)
EJECTION = Ejection(consecutive=2, base=5, longest=20)
CHANGES: list[dict[str, Any]] = [
    {"sticky": Sticky(cookie="at")},
    {"sticky": None},
    {"probe": Probe(rise=1, fall=1)},
    {"probe": Probe(rise=1, fall=1, initial="probe")},
    {"probe": None},
    {"slow_start": 20.0},
    {"slow_start": 0.0},
    {"panic": 0.6},
    {"panic": 0.0},
    {"policy": "least_requests"},
    {"ejection": Ejection(consecutive=1, base=5, longest=20, share=1.0)},
    {"ejection": EJECTION},
]


class Wire:
    """The channel of one end: what it tells waits here."""

    def __init__(self, heard_as: object) -> None:
        self._decoder: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(heard_as)
        self.waiting: deque[bytes] = deque()

    def tell(self, message: object) -> None:
        self.waiting.append(msgspec.msgpack.encode(message))

    def next(self) -> object:
        return self._decoder.decode(self.waiting.popleft())

    def close(self) -> None:
        """There is nothing to close."""


class Call(Request):
    """A request of one worker; `backend` is what it holds."""

    backend: Backend | None = None
    ticket: Ticket | None = None

    def __init__(self, firm: "Firm", hand: "Hand", pool: Pool) -> None:
        super().__init__(f"r{next(firm.numbers)}")
        self.firm = firm
        self.hand = hand
        self.pool = pool
        self.began = trio.current_time()
        self.tied_to = ""
        self.cut_by: set[int] = set()
        self.acts_before = Counter(hand.acts_heard)

    def cut(self) -> None:
        """The test ends it later. It counts once for each drain that cuts it."""
        self.cuts += 1
        assert self.backend is not None
        assert self.firm.acts[self.backend.id] > self.acts_before[self.backend.id], "nobody wished that"
        drain = self.backend.drain
        if drain is not None and drain.outcome is None and drain.number not in self.cut_by:
            self.cut_by.add(drain.number)
            self.firm.cut[drain.number] += 1

    def granted(self, backend: Backend) -> None:
        self.backend = backend
        self.hand.held.append(self)
        self.firm.check_choice(self, backend)

    def woken(self) -> None:
        assert self.ticket is not None
        self.hand.queued.remove(self)
        if self.ticket.backend is not None:
            self.granted(self.ticket.backend)


class Hand:
    """One worker, and its link; `held` is what runs there."""

    def __init__(self, firm: "Firm", number: int) -> None:
        self.number = number
        self.down, self.up = Wire(Down), Wire(Up)
        board = os.dup(firm.fleet._board.fd)
        front = Accepted(socket.socket().detach(), is_tls=True)
        begin = Begin(number, firm.fleet.count, board, firm.config, [front], KEY)
        self.worker = Worker(begin, cast("Channel", self.up))
        self.link = Link(number, NO_PID, cast("Channel", self.down), firm.registry, firm.fleet)
        self.held: list[Call] = []
        self.queued: list[Call] = []
        self.serves = False
        self.is_lent_to = False
        self._ledger = firm.fleet._ledger
        self.is_dead = False
        self.acts_heard = Counter(firm.acts)
        self.up.tell(Started())

    def close(self) -> None:
        for listener in self.worker._listeners:
            listener.close()
        self.worker._traffic.close()
        self.worker._board.close()

    async def hears(self) -> None:
        """One message from the keeper, if there is one."""
        if not self.down.waiting or self.is_dead:
            return
        message = self.down.next()
        await self.worker._hear(message)
        if isinstance(message, Batch) and message.is_last and not self.serves:
            self.serves = True
            assert self.worker._termination is not None
            assert self.worker._termination.certificates.all, "it serves, and has no certificate"
            self.up.tell(Serving(b"tag"))
        self.borrows()

    def borrows(self) -> None:
        """Give back places, and ask for others, as the worker does in each turn of its loop."""
        if not self.is_dead:
            self.worker._borrower.lent.settle(trio.current_time())

    def is_heard(self) -> None:
        """One message to the keeper, if there is one; the keeper reads what a dead worker has said too."""
        if self.up.waiting:
            self.link.take(self.up.next())
        if self.link.is_serving and not self.is_lent_to:
            self.is_lent_to = True
            self._ledger.join(self.number)

    @property
    def is_quiet(self) -> bool:
        return not self.down.waiting and not self.up.waiting


class Firm:
    """All of it. `steps` names what a test may do; each takes two small numbers, by which it chooses."""

    def __init__(self, clock: trio.testing.MockClock, workers: int) -> None:
        self.clock = clock
        self.config = build(
            {"listen": ["https://127.0.0.1:0"], "tls": {"certificates": [{"chain": "/at.pem"}]}}
        )
        self.registry: Registry = registry(trio.current_time)
        accounts = Accounts(self.registry, Metrics(), workers)
        self.fleet = Fleet(self.config, workers, self.registry, Names(self.registry), KEY, accounts)
        self.numbers: Iterator[int] = iter(range(1_000_000_000))
        self.hands: dict[int, Hand] = {}
        self.closed: dict[str, bool] = {}
        """Backends that no request may meet, as an operator was told; False: those with its cookie may."""
        self.told: Counter[str] = Counter()
        self.acts: Counter[str] = Counter()
        """How often all that ran on a backend was to be cut."""
        self._to_be_cut: list[Call] = []
        self.cut: Counter[int] = Counter()
        self.latest = 0.0
        """So late a message was at most."""
        self._settled = trio.current_time()
        self._closing: list[tuple[str, int, dict[Link, int]]] = []
        self._acts: Counter[str] = Counter()
        self._is_removing = False
        self._deaths = 0
        self._deaths_before: dict[Drain, int] = {}
        self.registry.subscribe(self._on_event)
        self.registry.members.on_cut = self._on_cut
        self.fleet.tls_files = certified(0)
        self._in_slices = to_the_end
        vars(told_termination)["to_the_end"] = without_pauses
        for name in POOLS:
            self.registry.add_pool(name, PoolSettings(ejection=EJECTION, queue=4))
        for number in range(1, workers + 1):
            self._start(number)

    def _start(self, number: int) -> None:
        hand = self.hands[number] = Hand(self, number)
        self.fleet.links[number] = hand.link

    def close(self) -> None:
        vars(told_termination)["to_the_end"] = self._in_slices
        for hand in self.hands.values():
            hand.close()
        self.fleet._board.close()

    def _on_cut(self, backend: Backend) -> None:
        """The keeper cuts what runs there, and so what runs in the workers on what they know by this name."""
        self.acts[backend.id] += 1
        self._to_be_cut += [call for call in self.calls() if call.backend is self._in(call.hand, backend.id)]
        self.fleet._on_unsaid(backend)

    # -- what is checked -------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        backend, drain = event.backend, event.backend.drain
        self.told[event.kind] += 1
        if event.kind == "draining" and drain is not None:
            self._deaths_before.setdefault(drain, self._deaths)
        if event.kind == "drained" and not self._is_removing:
            assert drain is not None
            running = [call for call in self.calls() if call.backend is self._in(call.hand, backend.id)]
            assert running == [], f"the drain of {backend.id} has ended"
            self.closed[backend.id] = True
            if self._deaths_before[drain] == self._deaths:
                assert drain.aborted == self.cut[drain.number]
                assert (drain.outcome is Outcome.TIMEOUT) is (drain.aborted > 0)

    def _in(self, hand: Hand, id: str) -> Backend | None:
        return hand.worker.registry.backends.get(id)

    def check_choice(self, call: Call, backend: Backend) -> None:
        """A worker has chosen this backend."""
        is_tied = call.tied_to == backend.id
        is_closed = backend.id in self.closed and (self.closed[backend.id] or not is_tied)
        assert not is_closed, f"worker {call.hand.number} has chosen {backend.id}"
        there = self.registry.backends.get(backend.id)
        drain = None if there is None else there.drain
        assert drain is None or drain.outcome in (None, Outcome.CANCELLED)

    def check(self) -> None:
        """After each step."""
        for id, act, wanted in [*self._closing]:
            if self._acts[id] != act:
                self._closing.remove((id, act, wanted))
            elif all(not link.may_serve or link._applied >= marked for link, marked in wanted.items()):
                self._closing.remove((id, act, wanted))
                self.closed.setdefault(id, not self._keeps_clients(id))
        for pool in self.registry.pools.values():
            self._check_share(pool)

    def _keeps_clients(self, id: str) -> bool:
        there = self.registry.backends.get(id)
        return there is not None and there.drain is not None and there.drain.keeps_clients

    def _check_share(self, pool: Pool) -> None:
        ready = [backend for backend in pool.backends if backend.is_ready]
        out = [backend for backend in ready if backend.outcomes.standing is Standing.EJECTED]
        assert not any(each.is_up for each in out) or len(out) / len(ready) <= pool.settings.ejection.share
        fit = sum(backend.is_fit for backend in ready)
        assert pool.is_panicking is (bool(ready) and fit < pool.settings.panic * len(ready))

    def check_that_all_agree(self) -> None:
        """When all messages are heard, all workers that live know what the keeper knows."""
        for hand in self.hands.values():
            if not hand.is_dead:
                self._check_that_agrees(hand.worker.registry)
                self._check_that_serves(hand.worker)

    def _check_that_serves(self, worker: Worker) -> None:
        there, wanted = worker._termination, self.fleet.tls_files
        assert there is not None
        assert wanted is not None
        [names] = [each.names for each in there.certificates.all]
        assert (*names, there._keys) == (wanted.settings.default, wanted.keys)

    def _check_that_agrees(self, theirs: Registry) -> None:
        assert theirs.backends.keys() == self.registry.backends.keys()
        assert theirs.pools.keys() == self.registry.pools.keys()
        for id in self.registry.backends:
            (they, late), (we, left) = known(theirs, id), known(self.registry, id)
            assert they == we
            assert left <= late + 1e-6
            assert late <= left + self.latest + 1e-6
        for name in self.registry.pools:
            assert state_of_pool(theirs, name) == state_of_pool(self.registry, name)
            members = {backend.id for backend in theirs.pools[name].backends}
            assert members == {backend.id for backend in self.registry.pools[name].backends}

    def check_that_all_late_are_cut(self) -> None:
        """What still runs on a backend when the time of its drain is over has been told so."""
        for call in self.calls():
            assert call.backend is not None
            there = self.registry.backends.get(call.backend.id)
            drain = None if there is None else there.drain
            if drain is None or call.backend is not self._in(call.hand, call.backend.id):
                continue
            if drain.outcome is None and drain.deadline == inf:
                assert call.cuts

    def check_that_all_are_cut_that_shall_be(self) -> None:
        """Whatever has become of the backend before the worker has heard."""
        for call in self._to_be_cut:
            assert call.cuts or call.hand.is_dead or call not in call.hand.held
        self._to_be_cut.clear()
        for hand in self.hands.values():
            hand.acts_heard = Counter(self.acts)

    def check_that_nothing_is_left(self) -> None:
        """All drains have ended, and nobody is waited for."""
        for backend in self.registry.backends.values():
            assert not backend.awaited
            assert backend.drain is None or backend.drain.outcome is not None
        for hand in self.hands.values():
            assert hand.link._awaited.keys() <= {*self.registry.backends.values()}

    # -- operators -------------------------------------------------------------------------------------

    def one(self, i: int) -> Backend | None:
        there = [*self.registry.backends.values()]
        return there[i % len(there)] if there else None

    def pool(self, i: int) -> Pool:
        there = [*self.registry.pools.values()]
        return there[i % len(there)]

    def _opens(self, id: str) -> None:
        self._acts[id] += 1
        self.closed.pop(id, None)

    def _closes(self, id: str) -> None:
        """The operator is answered once all workers have applied it."""
        self._acts[id] += 1
        if self._keeps_clients(id):  # perhaps not even these might come before
            self.closed.pop(id, None)
        wanted = {hand.link: hand.link._outbox.marked for hand in self.hands.values()}
        self._closing.append((id, self._acts[id], wanted))

    def add(self, i: int, j: int) -> None:
        wanted = a_spec(i, j)
        try:
            self.registry.add(wanted, self.pool(j).name, "config" if i % 2 else "api")
        except Conflict:
            return
        self._opens(wanted.id)

    def change(self, i: int, j: int) -> None:
        if (backend := self.one(i)) is not None:
            caps = {"weight": j % 3, "max_in_flight": (None, 1, 2)[j % 3]}
            self.registry.change(backend, msgspec.structs.replace(backend.spec, **caps))

    def drain(self, i: int, j: int) -> None:
        if (backend := self.one(i)) is not None:
            then = (None, *Then)[(i + j) % 4]
            self.registry.drain(backend, TIMEOUTS[j % len(TIMEOUTS)], then)
            self._closes(backend.id)

    def ready(self, i: int, j: int) -> None:
        if (backend := self.one(i)) is not None:
            self._opens(backend.id)
            self.registry.ready(backend)

    def maintenance(self, i: int, j: int) -> None:
        if (backend := self.one(i)) is not None:
            self.registry.maintenance(backend)
            self._closes(backend.id)

    def remove(self, i: int, j: int) -> None:
        if (backend := self.one(i)) is not None:
            self._is_removing = True
            self.registry.remove(backend)
            self._is_removing = False
            self._closes(backend.id)

    def move(self, i: int, j: int) -> None:
        backend, pool = self.one(i), self.pool(j)
        if backend is not None and backend.pool != pool.name:
            self._opens(backend.id)
            self.registry.move(backend, backend.spec, pool.name)

    def replace(self, i: int, j: int) -> None:
        pool = self.pool(j)
        names = [name for n, name in enumerate(IDS) if (i * 8 + j) >> n & 1]
        free = [
            name
            for name in names
            if name not in self.registry.backends or self.registry.backends[name].pool == pool.name
        ]
        for name in free:
            self._opens(name)
        for backend in self.registry.replace(pool.name, [spec(name) for name in free], 10.0):
            self._closes(backend.id)

    def configure(self, i: int, j: int) -> None:
        pool = self.pool(i)
        change = CHANGES[(i * 8 + j) % len(CHANGES)]
        self.registry.configure(pool, msgspec.structs.replace(pool.settings, **change))

    def swap(self, i: int, j: int) -> None:
        """The files of certificates have changed."""
        self.fleet.serve_files(certified(i, j % 2))

    def late_pool(self, i: int, j: int) -> None:
        """A reload brings a pool, or takes it away once nothing is in it."""
        if LATE_POOL in self.registry.pools:
            self.registry.forget_pools(POOLS)
        else:
            self.registry.add_pool(LATE_POOL, PoolSettings(ejection=EJECTION, queue=4))

    def probe(self, i: int, j: int) -> None:
        if (backend := self.one(i)) is not None:
            self.registry.checked(backend, Check(j % 2 == 0, "as it is", 0.1, trio.current_time()))

    # -- requests --------------------------------------------------------------------------------------

    def calls(self) -> list[Call]:
        return [call for hand in self.hands.values() if not hand.is_dead for call in hand.held]

    def call(self, i: int, j: int) -> None:
        hand = self._hand(i)
        pool = [*hand.worker.registry.pools.values()]
        if hand.is_dead or not hand.serves or not pool:
            return
        call = Call(self, hand, pool[j % len(pool)])
        members = [*call.pool.backends]
        if call.pool.sticky is not None and members and i % 2:
            tied_to = members[j % len(members)]
            tie(call, call.pool, tied_to)
            call.tied_to = tied_to.id
        backend, _ = call.pool.take(call)
        if backend is not None:
            call.granted(backend)
            return
        hand.queued.append(call)
        try:
            call.ticket = call.pool.queue(call, (), call.woken)
        except Unavailable:
            hand.queued.remove(call)

    def answered(self, i: int, j: int) -> None:
        self._ends(i, 200)

    def failed(self, i: int, j: int) -> None:
        self._ends(i, None)

    def _ends(self, i: int, status: int | None) -> None:
        calls = self.calls()
        if not calls:
            return
        call = calls[i % len(calls)]
        assert call.backend is not None
        now = trio.current_time()
        if status is None:
            call.pool.failed(call.backend, "refused", now - call.began, now)
        else:
            call.pool.answered(call.backend, status, now - call.began, now)
        call.hand.held.remove(call)
        call.pool.release(call.backend, call)

    # -- time, messages, deaths ------------------------------------------------------------------------

    def _hand(self, i: int) -> Hand:
        return self.hands[1 + i % len(self.hands)]

    def pass_time(self, i: int, j: int) -> None:
        self.clock.jump(SECONDS[j % len(SECONDS)])
        self.registry.expire(trio.current_time())
        for hand in self.hands.values():
            if not hand.is_dead:
                hand.worker.registry.expire(trio.current_time())

    def send(self, i: int, j: int) -> None:
        self._hand(i).link.tell_some()

    async def hear(self, i: int, j: int) -> None:
        await self._hand(i).hears()

    def be_heard(self, i: int, j: int) -> None:
        self._hand(i).is_heard()

    async def settle(self, i: int = 0, j: int = 0) -> None:
        """All that is to be told is told."""
        for _ in range(MOST_ROUNDS):
            for hand in self.hands.values():
                hand.link.tell_some()
                while hand.down.waiting and not hand.is_dead:
                    await hand.hears()
                while hand.up.waiting:
                    hand.is_heard()
                    self.check()
            living = [hand for hand in self.hands.values() if not hand.is_dead]
            if all(hand.is_quiet and not hand.link._outbox for hand in living):
                break
        else:
            raise AssertionError("keeper and workers talk on and on")
        for hand in self.hands.values():
            if not hand.is_dead:
                hand.worker.registry.expire(trio.current_time())
        self.check_that_all_late_are_cut()
        self.check_that_all_are_cut_that_shall_be()
        self.latest = max(self.latest, trio.current_time() - self._settled)
        self._settled = trio.current_time()
        self.check_that_all_agree()

    def die(self, i: int, j: int) -> None:
        hand = self._hand(i)
        hand.is_dead = True
        self._deaths += 1

    def notice(self, i: int, j: int) -> None:
        """The keeper sees that a worker is dead, and starts another one."""
        hand = self._hand(i)
        if not hand.is_dead:
            return
        while hand.up.waiting:
            hand.is_heard()
        del self.fleet.links[hand.number]
        self.fleet._ledger.leave(hand.number)
        hand.link.end()
        hand.close()
        self._start(hand.number)

    async def rest(self) -> None:
        """Nobody wishes or asks anything more; whoever is dead is replaced, and much time passes."""
        for number in self.hands:
            self.notice(number - 1, 0)
        await self.settle()
        for _ in range(3):
            while self.calls():
                self._ends(0, 200)
            for _ in range(3):
                self.pass_time(0, 3)
                await self.settle()
                self.check()

    async def do(self, name: str, i: int, j: int) -> None:
        """One step of this name."""
        done = getattr(self, name)(i, j)
        for hand in self.hands.values():
            hand.borrows()
        if done is not None:
            await done
        self.check()


MESSAGES = (*["send"] * 3, *["hear"] * 4, *["be_heard"] * 4, "settle", "settle")
TRAFFIC = ("call", "call", "call", "call", "answered", "failed")
DRAINS = ("add", *["drain"] * 3, "ready", "ready", "pass_time", "pass_time")
MEMBERS = ("add", "add", "change", "remove", "move", "replace", "configure", "late_pool")
HEALTH = ("add", "probe", *["failed"] * 6, *["call"] * 4, "configure", "pass_time")
WISHES = ("add", "add", "drain", "drain", "ready", "maintenance", "remove", "move", "replace", "configure")
DEATHS = ("die", "notice", "notice")
THEMES = (
    (*DRAINS, *TRAFFIC, *MESSAGES),
    (*DRAINS, *TRAFFIC, *MESSAGES, *DEATHS),
    (*MEMBERS, *TRAFFIC, *MESSAGES),
    (*HEALTH, *TRAFFIC, *MESSAGES, *DEATHS),
    (*DRAINS, *MEMBERS, *HEALTH, *WISHES, *TRAFFIC, *TRAFFIC, *MESSAGES, *DEATHS),
    ("swap", "swap", "add", "drain", *MESSAGES, *DEATHS),
)
"""Kinds of stories; what is more likely stands there more than once."""


def a_spec(i: int, j: int) -> BackendSpec:
    return spec(IDS[i % len(IDS)], weight=(1, 1, 1, 2, 0, 1)[j % 6], cap=(None, 2, 1)[j % 3])


async def without_pauses(steps: Iterator[None]) -> None:
    """Take all steps in one: a pause between slices would not end, as the clock stands still."""
    await trio.lowlevel.checkpoint()
    deque(steps, 0)


@cache
def issued(name: str) -> bytes:
    """A certificate for this name, and its key."""
    made = certificate(name)
    return f"{made.chain}{made.key_pem}".encode()


def certified(i: int, keys: int = 0) -> TlsFiles:
    """What the keeper has read."""
    name = f"{IDS[i % len(IDS)]}.test"
    settings = TlsSettings(default=name, certificates=(CertificateFiles(chain="/at.pem"),))
    return TlsFiles(settings, [("/at.pem", issued(name), 0o600)], keys)


def known(there: Registry, id: str) -> tuple[BackendState, float]:
    """What is decided of a backend, and the seconds of its slow start that are left.

    The words of the last probe are not told again and again, so they are left out.
    """
    state = state_of(there, id)
    assert isinstance(state, BackendState)
    return msgspec.structs.replace(state, verdict_why="", warming=0.0), state.warming
