"""The task that keeps a certificate for each wanted name: when to try, and what became of it.

    look at the folder -> the first name whose turn it is -> lock -> read again -> one attempt -> tell -> rest

One attempt is made at a time, over all balancers that share the folder: the lock says by which. With the lock
the name is read once more, since another balancer may have renewed it, or failed at it, meanwhile. An attempt
is written down as failed before it begins, so that a program that is killed in the midst of each attempt
makes no more of them than one that is not.

All decisions about time are in `lb.core.renewal`. They are made anew at each look, so that a machine that
slept, or a clock that was set, is noticed within `Waits.look`. A name is in no other's way: where its DNS or
its file is wrong, the others are renewed.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf

import msgspec
import structlog
import trio

from lb.acme import issued
from lb.acme.acme_errors import AcmeError
from lb.acme.issuing import Got, Issuing, NotIssued, Surroundings
from lb.acme.stock import Known, Stock
from lb.acme.storage import Origin, Pair, Storage, StorageError
from lb.acme.trial import Rehearse, rehearse
from lb.core.renewal import (
    after_failure,
    after_success,
    drawn,
    in_line,
    next_attempt,
    next_look,
    next_wished_attempt,
)
from lb.core.renewal_view import Kind, RenewalEvent, Standing
from lb.settings.acme_settings import AcmeSettings, directory_url

log = structlog.get_logger()

STAGING = directory_url("staging")
BUG = "a bug in this program; its log has it"
CUT_SHORT = "the program ended in the midst of an attempt"

Installed = Callable[[str, Pair], None]
"""Takes the certificate of a name into use."""


class Renewer:
    """Keeps the certificates of the names that `wanted` returns, by the settings, in their storage.

    `installed` is called with each certificate that is found in the folder or issued, `tell` with what
    happens; neither may raise. `run` is its task.
    """

    def __init__(
        self,
        settings: AcmeSettings,
        wanted: Callable[[], Iterable[str]],
        installed: Installed,
        tell: Callable[[RenewalEvent], None],
        around: Surroundings | None = None,
        chance: Callable[[], float] = random.random,
        rehearse: Rehearse = rehearse,
    ) -> None:
        self._settings = settings
        self._wanted = wanted
        self._installed = installed
        self._tell = tell
        self._around = around or Surroundings(time.time)
        self._now = self._around.now
        self._waits = self._around.waits
        self._chance = chance
        self._rehearse = rehearse
        self._storage = Storage(settings.storage)
        self._stock = Stock(self._storage, self._around.in_thread, self._install)
        self._issuing = Issuing(settings, self._storage, self._around)
        self._running: str | None = None
        self._woken = trio.Event()
        self._refused_lock_at: float | None = None
        self._unusable = ""

    # -- from outside ------------------------------------------------------------------------------------

    def look_again(self) -> None:
        """Ask for the wanted names now: they may have changed."""
        self._woken.set()

    def renew(self, name: str) -> float | None:
        """Have this name renewed as soon as its authorities allow, and say when.

        None where its files cannot be read. LookupError if it is not wanted.
        """
        known = self._stock[name]
        known.is_wished = True
        self._woken.set()
        return _told(self._next_attempt(known))

    def standings(self) -> list[Standing]:
        """All wanted names in their order."""
        return [self._standing(known) for known in self._stock]

    def _standing(self, known: Known) -> Standing:
        return Standing(
            name=known.name,
            directory=known.origin.directory,
            validity=known.facts and known.facts.validity,
            suggestion=known.origin.suggestion,
            due=self._due(known),
            next_attempt=_told(self._next_attempt(known)),
            failures_in_a_row=known.failures.in_a_row,
            why=known.broken or known.failures.why,
            is_running=known.name == self._running,
        )

    # -- the task ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew until cancelled. Nothing that an authority or the folder does ends it, and no bug in here."""
        while True:
            if await self._is_usable():
                await self._look()
                while (known := self._first()) is not None and await self._turn(known):
                    pass
            await self._rest()

    async def _is_usable(self) -> bool:
        """Whether the folder can be used; that it cannot is told once."""
        try:
            await self._around.in_thread(self._storage.prepare)
        except StorageError as exc:
            before, self._unusable = self._unusable, str(exc)
            if before != self._unusable:
                self._tell(RenewalEvent(Kind.FAILED, "", self._unusable, None))
            return False
        self._unusable = ""
        return True

    async def _look(self) -> None:
        """Follow the wanted names, and what others have done in the folder."""
        self._stock.want(self._wanted())
        for known in await self._stock.look():
            self._tell(RenewalEvent(Kind.FAILED, known.name, known.broken, None))
        for known in self._stock:
            with suppress(StorageError):  # told when it first failed
                await self._stock.keep(known)

    async def _rest(self) -> None:
        """Wait for the next turn, for the next look at the folder, or to be woken."""
        soonest = min((self._next_turn(known) for known in self._stock), default=inf)
        seconds = min(max(soonest - self._now(), 0.0), self._waits.look)
        if self._refused_lock_at is not None or self._unusable:
            seconds = max(seconds, self._waits.lock_again)
        with trio.move_on_after(seconds):
            await self._woken.wait()
        self._woken = trio.Event()

    def _first(self) -> Known | None:
        """Of the names whose turn it is, the one whose turn came first."""
        first = min(self._stock, key=self._next_turn, default=None)
        return None if first is None or self._next_turn(first) > self._now() else first

    def _next_turn(self, known: Known) -> float:
        return min(self._next_attempt(known), self._next_question(known))

    def _next_attempt(self, known: Known) -> float:
        if known.broken:
            return inf
        line, now = self._issuing.line, self._now()
        if known.is_wished:
            return next_wished_attempt(known.failures, line, now)
        return next_attempt(self._due(known), known.failures, line, now)

    def _due(self, known: Known) -> float:
        """When a certificate is to be there, or renewed: at once where it is one of trying things out."""
        is_of_trial = known.origin.directory == STAGING and STAGING not in self._issuing.line
        return 0.0 if is_of_trial else known.due

    def _next_question(self, known: Known) -> float:
        """When to ask for the window; never for a certificate that has ended (RFC 9773 section 4.3)."""
        if known.broken or known.facts is None or known.origin.directory not in self._issuing.line:
            return inf
        has_ended = known.facts.validity.ends <= self._now()
        return inf if has_ended else known.origin.look_at

    async def _turn(self, known: Known) -> bool:
        """Do what is to be done for the name; False where another balancer has the lock."""
        if not await self._lock(known):
            return False
        self._running = known.name
        try:
            await self._stock.read(known)
            if self._next_attempt(known) <= self._now():
                await self._attempt(known)
            elif self._next_question(known) <= self._now():
                await self._ask(known)
        except StorageError as exc:
            await self._fail_of_ours(known, str(exc))
        except Exception:
            log.exception("bug in a renewal", name=known.name)
            await self._fail_of_ours(known, BUG)
        finally:
            self._running = None
            self._storage.lock.give_back()
        return True

    async def _lock(self, known: Known) -> bool:
        try:
            is_ours = await self._around.in_thread(self._storage.lock.take)
        except OSError as exc:
            self._fail(known, f"{self._storage.folder} cannot be locked: {exc.strerror or exc}")
            return False
        now = trio.current_time()
        if is_ours:
            self._refused_lock_at = None
        elif self._refused_lock_at is None:
            self._refused_lock_at = now
        elif now - self._refused_lock_at >= self._waits.lock:
            self._refused_lock_at = now
            await self._tell_of_lock(known)
        return is_ours

    async def _tell_of_lock(self, known: Known) -> None:
        owner = await self._around.in_thread(self._storage.lock.owner)
        text = (
            f"{self._storage.folder} has been locked by {owner} for {self._waits.lock:g} s, "
            "longer than an attempt takes: see what it does"
        )
        self._tell(RenewalEvent(Kind.FAILED, known.name, text, None))

    # -- one attempt -------------------------------------------------------------------------------------

    async def _attempt(self, known: Known) -> None:
        before, now = known.failures, self._now()
        line = in_line(before, self._issuing.line, now)
        known.is_wished = False
        begun = after_failure(before, now, self._chance(), CUT_SHORT, {})
        await self._stock.keep_failures(known, begun)
        await self._around.in_thread(self._storage.forget_all_answers)
        found = await self._try_out(known.name) if known.pair is None else None
        try:
            got = await self._issuing.issue(known.name, line, known.got)
        except NotIssued as exc:
            self._fail(known, f"{exc}. From here, {found}" if found else str(exc), exc.held)
        else:
            self._take(known, got)
        await self._stock.keep_failures(known, known.failures)
        await self._stock.keep(known)

    async def _try_out(self, name: str) -> str | None:
        """Rehearse the challenge, before the first order; what is wrong."""
        if self._settings.challenge != "http-01":
            return None
        token, body = secrets.token_urlsafe(), secrets.token_urlsafe()
        async with self._issuing.show(name, token, body):
            found = await self._rehearse(name, token, body.encode(), self._waits.trial)
        text = found or f"http://{name} leads here: the challenge was answered as it should be"
        self._tell(RenewalEvent(Kind.REHEARSED, name, text, None))
        return found

    def _take(self, known: Known, got: Got) -> None:
        """Have a certificate that was issued. It is used even if the folder does not take it."""
        known.have(got.pair, issued.read(got.pair), Origin(directory=got.directory))
        known.failures = after_success(known.failures)
        known.is_kept = False
        self._install(known)
        text = f"{known.name} has a certificate from {got.directory}"
        self._tell(RenewalEvent(Kind.RENEWED, known.name, text, self._next_attempt(known)))

    def _install(self, known: Known) -> None:
        assert known.pair is not None
        self._installed(known.name, known.pair)

    def _fail(self, known: Known, why: str, held: dict[str, float] | None = None) -> None:
        known.failures = after_failure(known.failures, self._now(), self._chance(), why, held or {})
        self._tell(RenewalEvent(Kind.FAILED, known.name, why, _told(self._next_attempt(known))))

    async def _fail_of_ours(self, known: Known, why: str) -> None:
        self._fail(known, why)
        with suppress(StorageError):  # then they are remembered for as long as this program runs
            await self._stock.keep_failures(known, known.failures)

    async def _ask(self, known: Known) -> None:
        """Ask the authority when it would like the certificate to be renewed."""
        assert known.got is not None
        origin = known.origin
        known.origin = msgspec.structs.replace(origin, look_at=next_look(self._now(), None))
        try:
            told = await self._issuing.told_window(known.got)
        except AcmeError as exc:
            log.info("the authority does not say when to renew", name=known.name, why=str(exc))
        else:
            window = told.window
            known.origin = msgspec.structs.replace(
                origin,
                suggestion=None if window is None else drawn(window, origin.suggestion, self._chance()),
                look_at=next_look(self._now(), told.seconds),
            )
        with suppress(StorageError):  # then it is asked for again after a restart
            await self._stock.keep_origin(known)


def _told(at: float) -> float | None:
    return None if at == inf else at
