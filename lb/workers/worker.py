"""One worker: traffic over a registry that it is told (`python -m lb.workers FD`).

    worker ─┬─ channel      sends what is told to the keeper
            ├─ hearing      applies what the keeper says; at its end the worker stops
            ├─ accepting    as in a balancer of one process (`lb.app`), with the tasks beside it
            ├─ reporting    reports numbers when it is asked
            ├─ expiry       lets shares grow
            └─ borrower     gives back places of capped backends, and asks for others

It stops when the keeper says so, and when the keeper is gone: it accepts no more, what runs has the grace,
and then it exits. Signals that come to the whole group are for the keeper alone to heed (`__main__`).
"""

import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from random import random
from typing import TYPE_CHECKING

import structlog
import trio

from lb.collector import Collector
from lb.config.cookie_keys import CookieKeys
from lb.config.tls_check import listens_with_tls
from lb.core.allowed_addresses import AddressRule
from lb.core.backend import AdminState, Backend
from lb.core.lending import Lend
from lb.core.mirror import BackendState, Mirror, State
from lb.core.registry import Event, Registry
from lb.core.routes import Routes
from lb.errors import ConfigError
from lb.expiry import Expiry
from lb.net.listener import Listener
from lb.net.resolver import SOON_SECONDS, Names
from lb.observe import log_level, program_log
from lb.observe.access_log import AccessLog
from lb.observe.all_exchanges import OwnExchanges
from lb.observe.counters import Metrics
from lb.observe.program_log import configure
from lb.observe.recorder import Recorder
from lb.proxy.backend_side.first_look import FirstLook
from lb.settings.balancer_settings import Config
from lb.slices import THREAD_SECONDS, sliced
from lb.traffic import Traffic
from lb.wall_clock import wall_clock
from lb.workers.answering import Answering
from lb.workers.board import Board
from lb.workers.borrower import Borrower
from lb.workers.channel import Channel
from lb.workers.evenness import SharedEvenness
from lb.workers.evidence import Evidence
from lb.workers.messages import (
    Accepted,
    Answer,
    Applied,
    Ask,
    Awake,
    Batch,
    Begin,
    Considered,
    Decided,
    Down,
    Draining,
    Failing,
    Idle,
    LastChance,
    NameFound,
    NotApplied,
    ReopenLogs,
    Report,
    Serving,
    Settings,
    Started,
    Stop,
    Stopped,
    TlsFiles,
    Wanted,
)
from lb.workers.report import AnyPart, Reporter
from lb.workers.told_names import as_found
from lb.workers.told_settings import ToldSettings

if TYPE_CHECKING:
    from lb.workers.told_termination import ToldTermination

LAST_WORDS_SECONDS = 2.0
PARTS_A_REPORT = 100
"""The keeper adds a report in one step."""

log = structlog.get_logger()


def main() -> int:
    """Run the worker at the other end of the descriptor that is the only argument."""
    configure(json=not sys.stderr.isatty())
    sys.setswitchinterval(THREAD_SECONDS)
    _be_called("lb spare")
    code = 0
    try:
        trio.run(_run, int(sys.argv[1]))
    except* ConfigError as errors:
        log.error("worker cannot do what was decided", why=_words(errors))
        code = 1
    return code


def _be_called(name: str) -> None:
    """Let `ps -o comm` and `top` show this name, of 15 letters at most, where the system can."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _words(error: BaseException) -> str:
    """Those of the first error that is no group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


async def _run(fd: int) -> None:
    sock = trio.socket.from_stdlib_socket(socket.socket(fileno=fd))
    channel = Channel(trio.SocketStream(sock), Down)
    try:
        channel.tell(Awake())
        with suppress(trio.BrokenResourceError):  # the keeper is gone, as is heard below
            await channel.flush()
        async with aclosing(channel.heard()) as heard:
            async for begin in heard:
                assert isinstance(begin, Begin)
                structlog.contextvars.bind_contextvars(worker=begin.worker)
                _be_called(f"lb worker {begin.worker}")
                await Worker(begin, channel).run(heard)
    finally:
        channel.close()


class Worker:
    """The worker of one process; `run` is its whole life."""

    def __init__(self, begin: Begin, channel: Channel) -> None:
        self._begin = begin
        log_level.use(begin.config.log_level)
        self._channel = channel
        self._config = begin.config
        self._batch = 0
        self._wanted: dict[str, float] = {}
        keys = CookieKeys(begin.cookie_key)
        self.registry = Registry(trio.current_time, random, keys.read, time.time)
        column = begin.worker - 1
        self._board = Board(begin.board, begin.workers, column)
        self._borrower = Borrower(self.registry, self._board, channel.tell)
        self._evidence = Evidence(channel.tell)
        self._mirror = Mirror(self.registry, self._evidence, self._not_configured)
        self.registry.subscribe(self._on_event)
        self.metrics = Metrics()
        self.recorder = Recorder(durations=self.metrics.durations_of)
        exchanges = OwnExchanges(self.recorder, lambda: self._traffic.running, self.registry)
        self._termination = _termination(self._config, channel.tell)
        handshakes = None if self._termination is None else self._termination.handshakes
        self._answering = Answering(exchanges, channel.tell)
        self.recorder.when_failed(self._answering.failed)
        self._background: trio.Nursery | None = None
        self._reporter = Reporter(self.registry, self.metrics, program_log.dropped, handshakes)
        self._asked: list[int] = []
        self._is_asked = trio.Event()
        rule = AddressRule(lambda: self._config, self._own_addresses)
        self._names = Names(self.registry, rule.objection, self._want)
        self._access_log = AccessLog.of(self._config.access_log, wall=wall_clock(), is_shared=True)
        observers = [self.recorder.finished] if self._config.admin.enabled else []
        self._traffic = Traffic(
            self._config,
            self.registry,
            self._names,
            self.metrics,
            observers,
            self._access_log,
            self._termination,
        )
        self._settings = ToldSettings(self._configure, self._access_log, channel.tell)
        self._borrower.lent.on_fewer = self._traffic.connections.keep_to_the_cap
        self._accepts = trio.CancelScope()
        self._evenness = SharedEvenness(self._board, column)
        self._listeners = [_listener(each) for each in begin.listeners]
        self._server = self._traffic.server(self._listeners, self._evenness)

    def _own_addresses(self) -> list[str]:
        return [self._config.admin.listen] if self._config.admin.enabled else []

    async def run(self, heard: AsyncIterator[object]) -> None:
        """Serve until the keeper says `Stop`, or says nothing more."""
        async with trio.open_nursery() as background:
            self._background = background
            background.start_soon(self._channel_task)
            ours = Expiry(self.registry).run, self._borrower.run, self._settings.run
            for task in (*self._traffic.tasks(self._server), *ours):
                background.start_soon(task)
            if self._termination is not None:
                background.start_soon(self._termination.run)
            self._channel.tell(Started())
            try:
                if await background.start(self._hear_all, heard):
                    async with trio.open_nursery() as reporting:
                        reporting.start_soon(self._report_when_asked)
                        await self._serve(background)
                        reporting.cancel_scope.cancel()
                    await sliced(self._reporting())
                self._channel.tell(Stopped(self._server.cut))
                with trio.move_on_after(LAST_WORDS_SECONDS):
                    await self._channel.sent()
            finally:
                for listener in self._listeners:
                    listener.close()
                self._traffic.close()
            background.cancel_scope.cancel()

    async def _serve(self, background: trio.Nursery) -> None:
        async with trio.open_nursery() as serving:
            await serving.start(self._server.serve)
            background.start_soon(self._beat)
            self._channel.tell(Serving(self._traffic.context.ids.tag))
            Collector().begin()
            if self._begin.worker == 1:
                look = FirstLook(self.registry, self._traffic.connections)
                background.start_soon(look.run)

    def _stop(self) -> None:
        """Accept no more; `run` returns when the last connection has ended."""
        self._accepts.cancel()
        self._server.stop()

    async def _beat(self) -> None:
        with self._accepts:
            await self._evenness.beat()

    async def _channel_task(self) -> None:
        """Send; where nobody takes it any more, `_hear_all` notices that the keeper is gone."""
        try:
            await self._channel.run()
        except trio.BrokenResourceError:
            return

    # -- what the keeper says --------------------------------------------------------------------------

    async def _hear_all(self, heard: AsyncIterator[object], *, task_status: trio.TaskStatus[bool]) -> None:
        """Do what the keeper says, until it is gone.

        Started with True once all is applied that held at the start; with False if it ends before.
        """
        has_begun = False
        async for message in heard:
            await self._hear(message)
            is_told_all = isinstance(message, Batch) and message.is_last
            if not has_begun and (is_told_all or isinstance(message, Stop)):
                has_begun = True
                task_status.started(is_told_all)
        log.warning("the keeper is gone")
        self._stop()
        if not has_begun:
            task_status.started(False)

    async def _hear(self, message: object) -> None:
        match message:
            case Batch():
                await self._apply(message)
            case Lend():
                self._borrower.hear(message)
            case Considered(backend=name):
                self._evidence.considered(name)
            case Ask(what="numbers", number=number):
                self._asked.append(number)
                self._is_asked.set()
            case Ask():
                assert self._background is not None
                self._background.start_soon(self._answering.answer, message)
            case ReopenLogs():
                self._access_log.reopen()
            case LastChance(seconds=seconds):
                self._traffic.give_last_chance(seconds)
            case Stop(is_handed_over=is_handed_over):
                for listener in self._listeners:
                    listener.is_handed_over = is_handed_over
                self._stop()

    async def _apply(self, batch: Batch) -> None:
        """Apply what was decided, in its order; states that follow each other in one step."""
        states: list[State] = []
        for change in batch.changes:
            if isinstance(change, Settings | TlsFiles | Draining | NameFound | Failing):
                self._mirror.take(states)
                states = []
                await self._be_told(change)
            else:
                states.append(change)
        self._mirror.take(states)
        self._batch = batch.number
        self._channel.tell(Applied(batch.number))
        self._tell_idle(batch.changes)

    async def _be_told(self, change: Settings | TlsFiles | Draining | NameFound | Failing) -> None:
        if isinstance(change, Draining):
            self._traffic.drain(change.is_draining)
            return
        if isinstance(change, Failing):
            if (backend := self.registry.backends.get(change.backend)) is not None:
                self._evidence.watch(backend)
            return
        if isinstance(change, NameFound):
            self._names.told(as_found(change))
            return
        if isinstance(change, TlsFiles):
            assert self._termination is not None
            await self._termination.be_told(change)
            return
        await self._settings.be_told(change.config)

    def _configure(self, config: Config, routes: Routes) -> None:
        self._config = config
        self._traffic.configure(config, routes)
        log_level.use(config.log_level)
        self._traffic.log_at(config.log_level)

    def _not_configured(self, pool: str, why: str) -> None:
        self._channel.tell(NotApplied(f"settings of pool {pool}", why))

    def _tell_idle(self, changes: Sequence[Decided]) -> None:
        """Say on which of these draining backends nothing runs; of the others `_on_event` will."""
        for change in changes:
            backend = self.registry.backends.get(change.spec.id) if isinstance(change, BackendState) else None
            if backend is not None and _is_drained(backend):
                self._say_idle(backend)

    def _say_idle(self, backend: Backend) -> None:
        cut = 0 if backend.drain is None else backend.drain.aborted
        self._channel.tell(Idle(backend.id, self._batch, cut))

    # -- numbers ---------------------------------------------------------------------------------------

    async def _report_when_asked(self) -> None:
        """Report until cancelled. A question that comes while a report is made is answered after the next."""
        while True:
            await self._is_asked.wait()
            self._is_asked = trio.Event()
            asked, self._asked = self._asked, []
            await sliced(self._reporting())
            for number in asked:
                self._channel.tell(Answer(number, b""))

    def _reporting(self) -> Generator[None, None, None]:
        """Report what has changed; what was taken of it is told even if this is closed before its end."""
        parts: list[AnyPart] = []
        try:
            for part in self._reporter.parts():
                if part is not None:
                    parts.append(part)
                if len(parts) >= PARTS_A_REPORT:
                    self._channel.tell(Report(parts))
                    parts = []
                yield
        finally:
            self._channel.tell(Report(parts))

    # -- what happens here -----------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if event.kind == "drained":
            self._say_idle(event.backend)

    def _want(self, host: str) -> None:
        """Let the keeper resolve a name soon; it asks once, however often it is told."""
        now = trio.current_time()
        if now - self._wanted.get(host, -SOON_SECONDS) >= SOON_SECONDS:
            if len(self._wanted) > 2 * len(self._names.hosts):
                self._wanted.clear()
            self._wanted[host] = now
            self._channel.tell(Wanted(host))


def _is_drained(backend: Backend) -> bool:
    has_ended = backend.drain is None or backend.drain.outcome is not None
    was_sources = backend.drain is not None and backend.drain.is_sources
    return (backend.admin_state is AdminState.DRAINING or was_sources) and backend.is_idle and has_ended


def _listener(accepted: Accepted) -> Listener:
    listener = Listener(socket.socket(fileno=accepted.fd))
    listener.is_tls, listener.takes_proxy_header = accepted.is_tls, accepted.takes_proxy_header
    return listener


def _termination(config: Config, say: Callable[[object], None]) -> "ToldTermination | None":
    """What listeners with TLS need; it is imported where there are any."""
    if not listens_with_tls(config):
        return None
    from lb.workers.told_termination import ToldTermination

    return ToldTermination(say)
