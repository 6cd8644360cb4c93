"""The numbers of all workers: asked for when somebody wants them, and how each worker is.

A worker reports when it is asked (`lb.workers.report`): for each reader of the operator's side, and once a
second for the events. So what is shown is of the moment of asking. A worker that says nothing within
ANSWER_SECONDS is silent from then on. It is named, and not waited for until it has been heard again.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from lb.core.backend import Backend
from lb.core.registry import Registry
from lb.core.worker_view import Behind, WorkerEvent, WorkerKind, WorkerState, WorkerView
from lb.observe import program_log
from lb.observe.counters import Metrics
from lb.workers.link import Link
from lb.workers.messages import Report
from lb.workers.sums import Sums, WorkerTotals

if TYPE_CHECKING:
    from lb.certificate_files.handshake_log import HandshakeLog

ANSWER_SECONDS = 0.5
RATE_SECONDS = 10
"""The rate of a worker is that of so many seconds, as are those of backends."""

log = structlog.get_logger()


class Account:
    """What is known of one worker, and of the process that it has now (`link` is None without one).

    `is_silent`: it was asked and has said nothing. `reports` counts what it has said. `behind` is what that
    process could not apply, and why.
    """

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.link: Link | None = None
        self.sums: Sums | None = None
        self.totals = WorkerTotals()
        self.state: WorkerState = "starting"
        self.since = now
        self.is_silent = False
        self.restarts = 0
        self.reports = 0
        self.behind: dict[str, str] = {}
        self._counted: deque[tuple[float, int]] = deque(maxlen=RATE_SECONDS + 1)

    def count(self, now: float) -> None:
        """Remember the requests of this second."""
        if not self._counted or now - self._counted[-1][0] >= 1.0:
            self._counted.append((now, self.totals.requests))

    def rate(self) -> float:
        """Requests a second."""
        (began, before), (ended, after) = self._counted[0], self._counted[-1]
        return round((after - before) / (ended - began), 2) if ended > began else 0.0

    def not_applied(self) -> Iterator[Behind]:
        return (Behind(self.number, what, why) for what, why in self.behind.items())

    def view(self, now: float) -> WorkerView:
        pid = None if self.link is None else self.link.pid
        self.count(now)
        return WorkerView(
            number=self.number,
            pid=pid,
            state="silent" if self.is_silent else self.state,
            since=self.since,
            restarts=self.restarts,
            connections=0 if self.sums is None else self.sums.connections,
            requests=self.totals.requests,
            requests_per_second=self.rate(),
            lags=self.totals.lags,
            lag_p99=self.totals.recent_lags.quantile(0.99, now),
            memory=None if pid is None else _resident(pid),
            behind=tuple(self.not_applied()),
        )


class Accounts:
    """The accounts of all workers (`lb.core.worker_view.Workers`); the fleet tells what becomes of each.

    Their handshakes are added to `handshakes`, where there are any.
    """

    def __init__(
        self, registry: Registry, metrics: Metrics, count: int, handshakes: "HandshakeLog | None" = None
    ) -> None:
        self._handshakes = handshakes
        self._registry = registry
        self._metrics = metrics
        self._accounts = {number: Account(number, registry.now()) for number in range(1, count + 1)}
        self._tell: list[Callable[[WorkerEvent], None]] = []

    def list(self) -> Sequence[WorkerView]:
        now = self._registry.now()
        return [account.view(now) for account in self._accounts.values()]

    def behind(self) -> Sequence[Behind]:
        return [each for account in self._accounts.values() for each in account.not_applied()]

    def subscribe(self, tell: Callable[[WorkerEvent], None]) -> None:
        self._tell.append(tell)

    # -- what becomes of a worker ----------------------------------------------------------------------

    def started(self, link: Link) -> None:
        """A process has been started for this worker."""
        account = self._accounts[link.number]
        account.link = link
        sums = account.sums = Sums(
            self._registry, self._metrics, account.totals, program_log.dropped, self._handshakes
        )

        def add(report: Report) -> None:
            sums.add(report.parts)
            self._heard(account)

        def went_idle(backend: Backend) -> None:
            sums.went_idle(backend)

        link.on_report, link.on_idle = add, went_idle
        self._enter(account, "starting")

    def serves(self, link: Link) -> None:
        """It accepts connections."""
        account = self._accounts[link.number]
        if account.state == "starting":
            self._enter(account, "serving")
            self._happened("serving", account)

    def not_applied(self, worker: int, what: str, why: str) -> None:
        """It could not apply something, or could after all, where `why` is empty."""
        behind = self._accounts[worker].behind
        behind.pop(what, None)
        if why:
            behind[what] = why
            log.error("worker goes on with what it had", worker=worker, what=what, why=why)

    def stopping(self) -> None:
        """All are told to stop."""
        for account in self._accounts.values():
            if account.link is not None:
                self._enter(account, "stopping")

    def ended(self, link: Link, why: str = "") -> None:
        """The process has ended; `why` says so in words where it was not told to."""
        account = self._accounts[link.number]
        if account.sums is not None:
            account.sums.take_back()
        if why:
            account.restarts += 1
            self._happened("ended", account, why)
        account.link = account.sums = None
        account.behind.clear()
        account.is_silent = False
        self._enter(account, "ended")
        self._look_whether_full()

    def _heard(self, account: Account) -> None:
        account.reports += 1
        if account.is_silent:
            log.info("worker answers again", worker=account.number)
            account.is_silent, account.since = False, self._registry.now()
            self._happened("answering", account)
        self._look_whether_full()

    def _is_silent(self, account: Account) -> None:
        log.warning("worker does not answer", worker=account.number, seconds=ANSWER_SECONDS)
        account.is_silent, account.since = True, self._registry.now()
        self._happened("silent", account)

    def _enter(self, account: Account, state: WorkerState) -> None:
        account.state, account.since = state, self._registry.now()

    def _happened(self, kind: WorkerKind, account: Account, detail: str = "") -> None:
        pid = None if account.link is None else account.link.pid
        event = WorkerEvent(kind, account.number, pid, detail)
        for tell in self._tell:
            tell(event)

    def _look_whether_full(self) -> None:
        """Every place is taken where each process that there is says so."""
        sums = [account.sums for account in self._accounts.values() if account.sums is not None]
        is_full = bool(sums) and all(each.is_full for each in sums)
        if is_full and self._metrics.full_since is None:
            self._metrics.full_since = self._registry.now()
        elif not is_full:
            self._metrics.full_since = None

    # -- asking ----------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Wait for a report of every worker that is not silent, at the longest ANSWER_SECONDS."""
        async with trio.open_nursery() as nursery:
            for account in self._accounts.values():
                if account.link is not None and account.state != "starting" and not account.is_silent:
                    nursery.start_soon(self._ask, account, account.link)
        now = self._registry.now()
        for account in self._accounts.values():
            account.count(now)

    async def _ask(self, account: Account, link: Link) -> None:
        before = account.reports
        with trio.move_on_after(ANSWER_SECONDS) as in_time:
            await link.ask("numbers")
        if in_time.cancelled_caught and account.link is link and account.reports == before:
            self._is_silent(account)


def _resident(pid: int) -> int | None:
    """Bytes of memory that are resident for this process; None where the system does not say."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
