"""All workers of one balancer: each is started, fed, watched, and started again when it ends.

    fleet ─┬─ watch, spare
           └─ one task for each worker ─┬─ process      its start, and its end
                                        ├─ channel      sends what it is told
                                        ├─ changes      what was decided, in batches
                                        └─ hearing      what it says

A worker that ends before it was told to is started again: at once, in a process that was kept ready, and
after a pause that doubles when it ends soon again. Where none has ever served, the start fails after a few.
What it had accepted is lost with it; what waits in the backlog is not, for all workers accept from the same
sockets, which the keeper has open too. A worker that does not answer in time is killed, and so started again.
"""

from collections.abc import Callable, Sequence

import structlog
import trio

from lb.core.backend import Backend
from lb.core.lending import Ledger, Lend, Uses
from lb.core.lent_out import LentOut, Rows
from lb.core.registry import Event, PoolEvent, Registry
from lb.core.routes import Routes
from lb.net.listener import Listener
from lb.net.resolver import Names
from lb.settings.balancer_settings import Config, LogLevel
from lb.signal_names import name_of
from lb.workers.accounts import Accounts
from lb.workers.board import HEADERS, ROWS, Board
from lb.workers.channel import Stuck
from lb.workers.evenness import silent_for
from lb.workers.killing import kill, kill_pid
from lb.workers.link import Link
from lb.workers.messages import (
    CERTIFICATES,
    Accepted,
    Begin,
    Draining,
    Failed,
    LastChance,
    ReopenLogs,
    Settings,
    TlsFiles,
)
from lb.workers.outbox import Name
from lb.workers.process_start import Begun, begun
from lb.workers.shares import for_worker
from lb.workers.spare import Spare

START_SECONDS = 30.0
"""How long a worker may take until it serves."""
APPLY_SECONDS = 3.0
"""How long a worker may take to apply what was decided; then it is killed."""
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15.0
FIRST_STARTS = 3
"""So often a worker is started until it serves for the first time; then the start goes on without it."""
WATCH_SECONDS = 1.0
SILENT_SECONDS = 10.0
"""A worker whose event loop has not turned for so long is killed."""
STEADY_SECONDS = 30.0
"""A worker that ran for so long is started again at once."""
LET_GO_SECONDS = 1.0
"""How long the processes that do not accept may take to end, before those that do are told to stop."""
END_SECONDS = 5.0
"""How long a worker may take to end beyond the grace."""
LAST_WORDS_SECONDS = 2.0
"""How long what an ended worker has said may take to be read."""

log = structlog.get_logger()


class Fleet:
    """The workers of one balancer (`lb.steering.Carrier`). `links` has those that run, by their numbers.

    `restarts` counts the processes that ended before they were told to, `cut` the exchanges that were cut at
    the end. `is_handed_over`: another program accepts from now on. `on_failed` hears of the failures that
    workers tell of, `on_not_swapped` of a worker's number and why it keeps the certificates that it had.
    `tls_files` are those of now; `serve_files` changes them.
    """

    def __init__(
        self,
        config: Config,
        count: int,
        registry: Registry,
        names: Names,
        cookie_key: bytes,
        accounts: Accounts,
    ) -> None:
        self.count = count
        self.links: dict[int, Link] = {}
        self.restarts = 0
        self.cut = 0
        self.is_handed_over = False
        self.on_failed: Callable[[Failed], None] = lambda _failed: None
        self.on_not_swapped: Callable[[int, str], None] = lambda _worker, _why: None
        self.tls_files: TlsFiles | None = None
        self._config = config
        self._log_level = config.log_level
        self._is_draining = False
        self._has_served = False
        self._stopping = trio.Event()
        self._not_accepting: dict[int, trio.Event] = {}
        self._registry = registry
        self._cookie_key = cookie_key
        self._accounts = accounts
        self._listeners: Sequence[Listener] = ()
        self._nursery: trio.Nursery | None = None
        self._board = Board.made(count)
        self.names = names
        names.subscribe_to_news(lambda host: self._mark(Name("host", host)))
        registry.subscribe(self._on_event, self._on_pool_event)
        registry.members.on_cut = registry.members.on_judged_anew = self._on_unsaid
        self._ledger = Ledger(count, self._lend)
        self._rows = Rows(HEADERS, ROWS)
        LentOut(registry, self._ledger, self._rows, self._forgotten)
        self._spare = Spare(self._begun)

    # -- what is decided -------------------------------------------------------------------------------

    def configure(self, config: Config, routes: Routes | None = None) -> None:
        """Use these settings from the next request on; the workers make the routes themselves."""
        self._config = config
        self._mark(Name("settings"))

    def drain(self, is_draining: bool) -> None:
        """The whole balancer drains, or does so no more."""
        self._is_draining = is_draining
        self._mark(Name("draining"))

    def log_at(self, level: LogLevel) -> None:
        """The workers' logs have lines from this level on; it goes to them as a part of their settings."""
        self._log_level = level
        self._mark(Name("settings"))

    def serve_files(self, files: TlsFiles) -> None:
        """Serve these certificates from the next handshake on."""
        self.tls_files = files
        self._mark(Name("certificates"))

    def not_applied(self, worker: int, what: str, why: str) -> None:
        self._accounts.not_applied(worker, what, why)
        if why and what == CERTIFICATES:
            self.on_not_swapped(worker, why)

    def settings(self) -> Settings:
        return Settings(for_worker(self._config, self.count, self._log_level))

    def draining(self) -> Draining:
        return Draining(self._is_draining)

    def failed(self, failed: Failed) -> None:
        self.on_failed(failed)

    def failing(self, backend: Backend) -> None:
        self._mark(Name("failing", backend.id))

    def _mark(self, name: Name) -> None:
        for link in self.links.values():
            link.mark(name)

    def _on_event(self, event: Event) -> None:
        for link in self.links.values():
            link.on_event(event)

    def _on_unsaid(self, backend: Backend) -> None:
        for link in self.links.values():
            link.mark_backend(backend)

    def _on_pool_event(self, event: PoolEvent) -> None:
        for link in self.links.values():
            link.on_pool_event(event)

    def reopen_logs(self) -> None:
        """Let each worker open its log files again."""
        for link in self.links.values():
            link.channel.tell(ReopenLogs())

    def _lend(self, worker: int, lend: Lend) -> None:
        self.links[worker].channel.tell(lend)

    def uses(self, worker: int, uses: Uses) -> None:
        """A worker has said how many places it uses."""
        self._ledger.heard(worker, uses)

    def _forgotten(self) -> Callable[[], bool]:
        asked = [(link, link.forgotten()) for link in self.links.values()]
        return lambda: all(has() or self.links.get(link.number) is not link for link, has in asked)

    async def applied(self) -> None:
        """Wait until every worker has applied what was decided; one that does not in time is killed."""
        async with trio.open_nursery() as nursery:
            for link in self.links.values():
                nursery.start_soon(self._applied_by, link)

    async def _applied_by(self, link: Link) -> None:
        if not await link.applied(APPLY_SECONDS) and self.links.get(link.number) is link:
            log.warning("worker does not answer", worker=link.number, pid=link.pid)
            kill_pid(link.pid)

    # -- processes -------------------------------------------------------------------------------------

    async def prepare(self, listeners: Sequence[Listener]) -> None:
        """Have the processes of all workers started. They accept nothing before `run`."""
        self._listeners = listeners
        await self._spare.have(self.count)

    async def run(
        self,
        listeners: Sequence[Listener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the workers on these listeners, which stay open, until `stop`, and until all have ended.

        Started once all of them serve, or some do and others have failed, or at `stop`. ChildProcessError
        where none could be made to serve.
        """
        self._listeners = listeners
        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch)
            watching.start_soon(self._spare.run)
            async with trio.open_nursery() as self._nursery:
                settled = [trio.Event() for _ in range(self.count)]
                for number, is_settled in enumerate(settled, 1):
                    self._nursery.start_soon(self._keep, number, is_settled)
                for is_settled in settled:
                    await is_settled.wait()
                if not self._has_served and not self._stopping.is_set():
                    raise ChildProcessError(f"none of {self.count} workers could be started")
                task_status.started()
            watching.cancel_scope.cancel()

    async def _watch(self) -> None:
        """Kill workers that hang; not where this process did not turn either, as when both were stopped."""
        while True:
            due = trio.current_time() + WATCH_SECONDS
            await trio.sleep_until(due)
            if trio.current_time() - due > WATCH_SECONDS:
                continue
            for link in self.links.values():
                if link.is_serving and silent_for(self._board, link.number - 1) > SILENT_SECONDS:
                    log.error("worker hangs", worker=link.number, pid=link.pid, seconds=SILENT_SECONDS)
                    kill_pid(link.pid)

    async def _keep(self, number: int, is_settled: trio.Event) -> None:
        """Run one worker after another under this number.

        The event is set once one serves, or as many have failed as a start may take.
        """
        failures, pause = 0, 0.0
        while not await self._stops_within(pause):
            began = trio.current_time()
            self._not_accepting[number] = trio.Event()
            try:
                await self._run_one(number, is_settled)
            finally:
                self._not_accepting[number].set()
            if self._stopping.is_set():
                break
            self.restarts += 1
            is_steady = trio.current_time() - began >= STEADY_SECONDS
            failures = 1 if is_steady else failures + 1
            pause = 0.0 if failures == 1 else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 2))
            log.error("worker ended", worker=number, next_start_in=pause)
            if failures >= FIRST_STARTS:
                is_settled.set()
        is_settled.set()

    async def _stops_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self._stopping.wait()
        return self._stopping.is_set()

    async def _run_one(self, number: int, is_settled: trio.Event) -> None:
        try:
            process, channel = self._spare.take() or await self._begun()
        except OSError as exc:
            log.error("worker not started", worker=number, why=str(exc))
            return
        if self._stopping.is_set():
            channel.close()
            await kill(process)
            return
        link = Link(number, process.pid, channel, self._registry, self, (number - 1) / self.count)
        settings = self.settings()
        accepted = [
            Accepted(each.sock.fileno(), each.is_tls, each.takes_proxy_header) for each in self._listeners
        ]
        channel.tell(Begin(number, self.count, self._board.fd, settings.config, accepted, self._cookie_key))
        self.links[number] = link
        self._accounts.started(link)
        why = ""
        try:
            why = await self._attend(link, process, is_settled)
        finally:
            del self.links[number]
            self._ledger.leave(number)  # before what follows can want something of it
            self._accounts.ended(link, why)
            link.end()
            self._board.clear(number - 1, self._rows.used)
            self.cut += self._cut_by(link)
            await kill(process)

    def _cut_by(self, link: Link) -> int:
        """How many exchanges it cut at its end; one that had to be killed did not say."""
        if link.cut is None and link.is_told_to_stop:
            log.error("worker did not end in order", worker=link.number, pid=link.pid)
            return 1
        return link.cut or 0

    async def _begun(self) -> Begun:
        return await begun([self._board.fd, *(each.sock.fileno() for each in self._listeners)])

    async def _attend(self, link: Link, process: trio.Process, is_settled: trio.Event) -> str:
        """Feed a worker and listen to it until its process has ended, and all that it said is heard.

        Why it has ended, "" if it was told to.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, link)
            nursery.start_soon(link.tell_changes)
            nursery.start_soon(self._expect, link, is_settled)
            async with trio.open_nursery() as hearing:
                hearing.start_soon(self._hear, link)
                code = await process.wait()
                hearing.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS
            nursery.cancel_scope.cancel()
        if self._stopping.is_set():
            return ""
        log.error("worker died", worker=link.number, pid=link.pid, code=code)
        return f"exit code {code}" if code >= 0 else f"killed by {name_of(-code)}"

    async def _hear(self, link: Link) -> None:
        """Error boundary: a worker that says what makes no sense is ended, and no other one."""
        try:
            await link.hear()
        except Exception:
            log.exception("bug in what a worker said", worker=link.number, pid=link.pid)
            kill_pid(link.pid)

    async def _send(self, link: Link) -> None:
        try:
            await link.channel.run()
        except trio.BrokenResourceError:
            return
        except Stuck as exc:
            log.error("worker does not read", worker=link.number, pid=link.pid, why=str(exc))
            kill_pid(link.pid)

    async def _expect(self, link: Link, is_settled: trio.Event) -> None:
        """Wait until it serves; one that takes too long is killed."""
        with trio.move_on_after(START_SECONDS) as in_time:
            await link.serves()
        if in_time.cancelled_caught:
            log.error("worker does not start", worker=link.number, pid=link.pid)
            kill_pid(link.pid)
        else:
            log.info("worker serves", worker=link.number, pid=link.pid)
            self._accounts.serves(link)
            self._ledger.join(link.number)
            self._has_served = True
            self._not_accepting[link.number].set()
            is_settled.set()
            if sum(each.is_serving for each in self.links.values()) == self.count:
                self._spare.want()

    # -- the end ---------------------------------------------------------------------------------------

    def give_last_chance(self, seconds: float) -> None:
        """Once the workers stop, idle connections may still send a request for so long."""
        for link in self.links.values():
            link.channel.tell(LastChance(seconds))

    async def stop(self, grace: float) -> None:
        """Let all workers end; what runs has the grace. Those that are there soon after it are killed.

        First the processes end that have the listeners and do not accept. The kernel resets what waits in the
        backlog when the last process closes a listener. So that has to be one that accepts, which serves what
        waits first (`lb.proxy.acceptor`).
        """
        self._stopping.set()
        self._accounts.stopping()
        with trio.move_on_after(LET_GO_SECONDS):
            await self._let_go()
        for link in self.links.values():
            link.stop(self.is_handed_over)
        if self._nursery is not None:
            self._nursery.cancel_scope.deadline = trio.current_time() + grace + END_SECONDS

    async def _let_go(self) -> None:
        self._spare.dismiss()
        for link in self.links.values():
            if not link.is_serving:
                kill_pid(link.pid)
        await self._spare.dismissed()
        for over in list(self._not_accepting.values()):
            await over.wait()
