"""The keeper's end of one worker: what it was told, what of it is applied, and what it says.

A worker is told states, a few at a time and in the order of its outbox, and says when they are applied. Only
then is it true of the whole balancer that no request meets a backend that was drained. So a drain waits for
each worker: until it has said that nothing runs on that backend there, it is among those `awaited`.

A worker that starts is told nothing before its process hears, and serves once it has been told all. Until
then no decision waits for it.
"""

from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Protocol

import trio

from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain
from lb.core.health.ejection import Cause, Standing
from lb.core.lending import Uses
from lb.core.mirror import state_of, state_of_pool
from lb.core.registry import Event, PoolEvent, Registry
from lb.net.resolver import Names
from lb.workers.awaited import AwaitedWorker
from lb.workers.channel import Channel
from lb.workers.messages import (
    Answer,
    Applied,
    Ask,
    Awake,
    Batch,
    Busy,
    Considered,
    Decided,
    Draining,
    Failed,
    Failing,
    Idle,
    NotApplied,
    Report,
    Serving,
    Settings,
    Shown,
    Started,
    Stop,
    Stopped,
    TlsFiles,
    Wanted,
)
from lb.workers.outbox import Name, Outbox
from lb.workers.told_names import as_told

STATES_A_BATCH = 50
"""A worker applies a batch in one step, between two requests."""
BATCHES_AHEAD = 4
"""So many may be sent and not yet applied."""


class Truth(Protocol):
    """What the keeper knows beside the registry."""

    def settings(self) -> Settings:
        """The Config as a worker needs it, of this moment."""
        ...

    def draining(self) -> Draining:
        """Whether the whole balancer drains."""
        ...

    @property
    def tls_files(self) -> TlsFiles | None:
        """The certificates of this moment; None where no listener has TLS."""
        ...

    def not_applied(self, worker: int, what: str, why: str) -> None:
        """A worker cannot use what it was told of this; or it can, where `why` is empty."""
        ...

    def failed(self, failed: Failed) -> None:
        """An exchange has failed in a worker."""
        ...

    def failing(self, backend: Backend) -> None:
        """Attempts on this backend fail, and all workers shall tell of the next that goes well."""
        ...

    @property
    def names(self) -> Names:
        """The addresses of the backends' hosts."""
        ...

    def uses(self, worker: int, uses: Uses) -> None:
        """A worker has said how many places it uses."""
        ...


def ignored(_what: object) -> None:
    """What becomes of numbers that nobody wants."""


class Link:
    """One worker process, from its start to its end; another process gets another link.

    `is_serving`: it accepts connections, or finishes those that it has. `may_serve`: it was told enough to
    begin to, and has not ended. `is_told_to_stop`: it shall end. `tag` is what it puts into the ids of
    requests, empty before that. `unanswered` counts the questions that it was asked and has not answered,
    whether or not anybody still waits. `cut` is what it said at its end, None before. `on_report` is called
    with what it reports, and `on_idle` with a draining backend on which nothing runs there any more. It is
    told of the backends from this `part` of them on, 0 to 1, and then of the others: where each worker begins
    elsewhere, so do their rotations.
    """

    def __init__(
        self, number: int, pid: int, channel: Channel, registry: Registry, truth: Truth, part: float = 0.0
    ) -> None:
        self.number = number
        self.pid = pid
        self.channel = channel
        self.is_serving = False
        self.may_serve = False
        self.is_told_to_stop = False
        self.tag = b""
        self.unanswered = 0
        self.cut: int | None = None
        self.on_report: Callable[[Report], None] = ignored
        self.on_idle: Callable[[Backend], None] = ignored
        self._hears = False
        self._registry = registry
        self._truth = truth
        self._outbox = Outbox()
        self._awaited: dict[Backend, AwaitedWorker] = {}
        self._applied = 0
        self._batches = 0
        self._sent: deque[int] = deque()
        self._news = trio.Event()
        self._progress = trio.Event()
        self._questions: dict[int, Callable[[bytes], None]] = {}
        self._asked = 0
        self._mark_all(part)

    def _mark_all(self, part: float) -> None:
        """What one that starts is to be told: everything."""
        self._outbox.mark(Name("draining"))
        if self._truth.tls_files is not None:
            self._outbox.mark(Name("certificates"))
        for name in self._registry.pools:
            self._outbox.mark(Name("pool", name))
        names = [*self._registry.backends]
        first = int(len(names) * part)
        for name in (*names[first:], *names[:first]):
            self._outbox.mark(Name("backend", name))
            if self._registry.backends[name].outcomes.is_failing:
                self._outbox.mark(Name("failing", name))
        for name in self._truth.names.hosts:
            self._outbox.mark(Name("host", name))

    # -- down ------------------------------------------------------------------------------------------

    def mark(self, name: Name, *, leaves: bool = False) -> None:
        """Tell the worker soon what holds there now."""
        self._outbox.mark(name, leaves=leaves)
        self._news.set()

    def on_event(self, event: Event) -> None:
        """Something has happened to a backend."""
        backend = event.backend
        drain = backend.drain
        if drain is not None and drain.outcome is None and not backend.removed:
            if event.kind in ("draining", "leaving"):
                self._await(backend, drain)
        elif event.kind in ("ready", "maintenance", "removed", "found"):
            backend.awaited.discard(self._awaited.pop(backend, None))
        self.mark_backend(backend)

    def mark_backend(self, backend: Backend) -> None:
        """Something else holds of this backend."""
        leaves = backend.removed or backend.admin_state is not AdminState.READY or backend.drains
        self.mark(Name("backend", backend.id), leaves=leaves)

    def _await(self, backend: Backend, drain: Drain) -> None:
        """The worker may run requests on it until it has heard of the drain, and says that there are none.

        What it has said of a drain stays true until the next one, however often this one is told of.
        """
        there = self._awaited.get(backend)
        if self.may_serve and (there is None or there.drain is not drain):
            backend.awaited.discard(there)
            awaited = self._awaited[backend] = AwaitedWorker(drain)
            backend.awaited.add(awaited)

    def on_pool_event(self, event: PoolEvent) -> None:
        """Something has happened to a pool."""
        self.mark(Name("pool", event.pool.name), leaves=event.kind == "removed")

    async def tell_changes(self) -> None:
        """Send what is marked, until cancelled."""
        while True:
            self.tell_some()
            self._news = trio.Event()
            await self._news.wait()

    def tell_some(self) -> None:
        """Send of what is marked as much as the worker keeps up with."""
        while self._hears and self._outbox and len(self._sent) < BATCHES_AHEAD:
            self._tell_batch()

    def _tell_batch(self) -> None:
        self._batches += 1
        names = self._outbox.take(STATES_A_BATCH)
        is_last = not self._outbox
        self._sent.append(self._outbox.taken)
        self.channel.tell(Batch(self._batches, is_last, [self._change(name) for name in names]))
        self.may_serve = self.may_serve or is_last
        for name in names:
            backend = self._registry.backends.get(name.name) if name.kind == "backend" else None
            if backend is not None and (awaited := self._awaited.get(backend)) is not None:
                awaited.told(self._batches)

    def _change(self, name: Name) -> Decided:
        match name.kind:
            case "backend":
                return state_of(self._registry, name.name)
            case "pool":
                return state_of_pool(self._registry, name.name)
            case "host":
                return as_told(self._truth.names.found(name.name))
            case "failing":
                return Failing(name.name)
            case "settings":
                return self._truth.settings()
            case "certificates":
                assert self._truth.tls_files is not None
                return self._truth.tls_files
            case "draining":
                return self._truth.draining()

    def forgotten(self) -> Callable[[], bool]:
        """A function that says whether the worker has applied what was decided before this call."""
        wanted = self._outbox.marked
        return lambda: self._applied >= wanted

    async def applied(self, patience: float) -> bool:
        """Wait until the worker has applied all that was decided before this call, or has ended.

        False where it has applied nothing for so many seconds, and does not say that it still does.
        """
        wanted = self._outbox.marked
        while self.may_serve and self._applied < wanted:
            with trio.move_on_after(patience) as in_time:
                await self._progress.wait()
            if in_time.cancelled_caught:
                return False
        return True

    # -- up --------------------------------------------------------------------------------------------

    async def hear(self) -> None:
        """Take in what the worker says, until it says no more."""
        async with aclosing(self.channel.heard()) as heard:
            async for message in heard:
                self.take(message)
                if isinstance(message, Report):
                    await trio.lowlevel.checkpoint()  # many may come at once

    def take(self, message: object) -> None:
        """Take in one message."""
        match message:
            case Applied():
                self._applied = self._sent.popleft()
                self._tell_progress()
                self._news.set()
            case Busy():
                self._tell_progress()
            case NotApplied(what=what, why=why):
                self._truth.not_applied(self.number, what, why)
            case Idle():
                self._went_idle(message)
            case Shown():
                self._consider(message)
            case Uses():
                self._truth.uses(self.number, message)
            case Wanted(host=host):
                self._truth.names.refresh(host)
            case Answer(number=number, answer=answer):
                self.unanswered -= 1
                if (tell := self._questions.pop(number, None)) is not None:
                    tell(answer)
            case Failed():
                self._truth.failed(message)
            case Report():
                self.on_report(message)
            case Awake():
                return  # nobody has waited for it
            case Started():
                self._hears = True
                self._news.set()
            case Serving(tag=tag):
                self.is_serving, self.tag = True, tag
                self._tell_progress()
            case Stopped(cut=cut):
                self.cut, self.is_serving = cut, False

    def _tell_progress(self) -> None:
        progress, self._progress = self._progress, trio.Event()
        progress.set()

    async def serves(self) -> None:
        """Wait until it accepts connections."""
        while not self.is_serving:
            await self._progress.wait()

    def _went_idle(self, idle: Idle) -> None:
        """Unless this was said of an earlier drain."""
        backend = self._registry.backends.get(idle.backend)
        awaited = None if backend is None else self._awaited.get(backend)
        if backend is None or awaited is None or awaited not in backend.awaited:
            return
        if awaited.batch is not None and awaited.batch <= idle.number:
            self.on_idle(backend)
            self._await_no_more(backend, awaited, idle.cut)

    def _await_no_more(self, backend: Backend, awaited: AwaitedWorker, cut: int) -> None:
        backend.awaited.discard(awaited)
        awaited.drain.aborted_elsewhere += cut
        if backend.is_idle and backend.drain is awaited.drain and not backend.removed:
            awaited.drain.aborted = awaited.drain.aborted_elsewhere
            self._registry.pools[backend.pool].on_idle(backend)

    def _consider(self, shown: Shown) -> None:
        """Eject or admit a backend, unless what the worker saw was overtaken by what has been decided."""
        self.channel.tell(Considered(shown.backend))
        backend = self._registry.backends.get(shown.backend)
        if backend is None or backend.serial != shown.serial:
            return
        if self._is_row(backend, shown):
            self._turn(backend, Cause.CONSECUTIVE, shown.why)
        if shown.turns:
            self._turn(backend, shown.cause, shown.why)

    def _is_row(self, backend: Backend, shown: Shown) -> bool:
        """Count what comes in a row in all workers; whether that is enough for an ejection."""
        outcomes, was_failing = backend.outcomes, backend.outcomes.is_failing
        if shown.succeeded:
            outcomes.succeeded_elsewhere()
        is_row = shown.failures > 0 and outcomes.failed_elsewhere(shown.failures)
        if outcomes.is_failing and not was_failing:
            self._truth.failing(backend)
        return is_row

    def _turn(self, backend: Backend, cause: Cause | None, why: str) -> None:
        standing = Standing.TRIAL if cause in (None, Cause.TRIAL) else Standing.ADMITTED
        pool = self._registry.pools[backend.pool]
        if backend.outcomes.standing is not standing:
            return
        if pool.health.turned(backend, cause, why, self._registry.now()):
            pool.reconsider()

    async def ask(self, what: str, about: bytes = b"") -> bytes:
        """What the worker answers. There is no timeout here: the caller sets one."""
        self._asked += 1
        self.unanswered += 1
        number, answered, answers = self._asked, trio.Event(), list[bytes]()

        def take(answer: bytes) -> None:
            answers.append(answer)
            answered.set()

        self._questions[number] = take
        try:
            self.channel.tell(Ask(number, what, about))
            await answered.wait()
        finally:
            self._questions.pop(number, None)
        return answers[0]

    # -- its end ---------------------------------------------------------------------------------------

    def stop(self, is_handed_over: bool) -> None:
        """Let it end; what runs there has the grace. Perhaps another program accepts from now on."""
        self.is_told_to_stop = True
        self.channel.tell(Stop(is_handed_over))

    def end(self) -> None:
        """The process has ended, and with it all that ran there; nobody waits for it any more."""
        self.is_serving = self.may_serve = False
        self._tell_progress()
        awaited, self._awaited = self._awaited, {}
        for backend, each in awaited.items():
            if each in backend.awaited:
                self._await_no_more(backend, each, 0)
        self.channel.close()
