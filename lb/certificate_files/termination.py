"""TLS with clients: the certificates, and how they change.

Certificates change when their files do, with the configuration, when one that was ordered comes (`ordered`),
and when an operator wishes. Each change is prepared in a thread from what the files hold then, and applied by
a plain call.

What was asked for is done whole, or not at all: a reload is of all files. But nobody has asked for all where
some files change, or a certificate comes. Those that can be used come into use then, and one that cannot is
told, and stays as it was.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import structlog
import trio

from lb.certificate_files.handshaking import Handshaking
from lb.certificate_files.ordered import Ordered
from lb.certificate_files.watch import Looking, Seen, Watch
from lb.errors import ConfigError
from lb.settings.balancer_settings import Config, speaks_tls
from lb.settings.tls_settings import TlsSettings
from lb.slices import made, sliced, to_the_end
from lb.tls.certificate_ids import by_id
from lb.tls.certificates import Plan
from lb.tls.draft import OfAdmin
from lb.tls.pem_files import PemFile
from lb.tls.remaining_life import Countdown, NearEnd, Reached, described

LOOK_SECONDS = 5.0
"""Interval of looking whether a file has changed."""
FRESH_SECONDS = 86400.0
"""After so long every context is made anew: the keys of its session tickets never change otherwise."""
COUNT_SECONDS = 60.0
"""Interval of looking whether a certificate has come nearer to its end."""
PLANS = 5
MOST_NAMES = 10
"""That are gained or lost, in a line."""
Kind = Literal["swapped", "refused"] | NearEnd

log = structlog.get_logger()


class CertificateEvent(NamedTuple):
    """Certificates were `swapped`, or what is in files was `refused`; or one of them nears its end.

    `certificate` is the id of that one; "" where it is about all.
    """

    kind: Kind
    detail: str
    certificate: str = ""


class Prepared(NamedTuple):
    """A plan, the settings that it was made for, and what was read for it.

    `is_fresh`: no context is kept.
    """

    plan: Plan
    settings: TlsSettings
    seen: Mapping[str, Seen]
    is_fresh: bool


class Termination(Handshaking):
    """What TLS listeners need. Making it reads every file: ConfigError, with every mistake, where one is bad.

    `prepare` is for a thread, the rest for the event loop. `results` counts swaps by "success" and "failure";
    `trouble` is what is wrong with the files now, "" if nothing is.
    """

    def __init__(self, config: Config) -> None:
        self._client_ca = config.admin.client_ca
        super().__init__(config.tls, OfAdmin(self._client_ca) if speaks_tls(config.admin) else None)
        self.results = {"success": 0, "failure": 0}
        self.trouble = ""
        self._prepared: Prepared | None = None
        self._subscribers: list[Callable[[CertificateEvent], None]] = []
        self._countdown = Countdown()
        self._one_at_a_time = trio.Lock()
        self._has_news = trio.Event()
        self._watch = Watch()
        self._is_behind = False
        self.ordered = Ordered()
        prepared = self._prepare(config.tls)
        self.certificates.apply(prepared.plan)
        self._watch.note(prepared.seen)
        self._adopted(prepared)
        _warn(prepared.plan)

    def subscribe(self, tell: Callable[[CertificateEvent], None]) -> None:
        """Call `tell` when certificates were swapped, could not be, or near their end. It must not raise."""
        self._subscribers.append(tell)

    # -- with the configuration --------------------------------------------------------------------------

    def prepare(self, config: Config) -> None:
        """Read what this configuration names. It blocks, and changes nothing; ConfigError as above."""
        self._prepared = self._prepare(config.tls)

    def check(self, config: Config) -> None:
        """As `prepare`, but nothing is kept."""
        self._prepare(config.tls)

    def adopting(self, config: Config) -> Iterator[None]:
        """Serve what was prepared for this configuration, in steps; if out of date, it is read again soon."""
        prepared, self._prepared = self._prepared, None
        self._settings = config.tls
        if prepared is not None and prepared.plan.revision == self.certificates.revision:
            yield from self._applying(prepared)
        else:
            self._watch = Watch()

    # -- with what is ordered ----------------------------------------------------------------------------

    def swap_now(self) -> None:
        """Serve what was ordered. It blocks: for the start."""
        for _ in self._applying(self._prepare(self._settings, changed=frozenset())):
            pass

    def swap_soon(self) -> None:
        """What was ordered has changed: have `run` serve it."""
        self._has_news.set()

    # -- by itself ---------------------------------------------------------------------------------------

    async def rehearse(self) -> Plan:
        """What a reload would change, not applied; ConfigError where a file cannot be used."""
        prepared = await trio.to_thread.run_sync(self._prepare, self._settings)
        return prepared.plan

    async def reload(self, *, fresh: bool = False) -> Plan:
        """Read all files again, and serve what they hold. After a ConfigError nothing has changed."""
        try:
            return await self._swap(lambda: self._prepare(self._settings, is_fresh=fresh))
        except ConfigError as exc:
            self._refuse(exc)
            raise

    async def _swap(self, prepare: Callable[[], Prepared]) -> Plan:
        async with self._one_at_a_time:
            for _ in range(PLANS):
                prepared = await trio.to_thread.run_sync(prepare)
                if prepared.plan.revision == self.certificates.revision:
                    await to_the_end(made(self._applying(prepared)))
                    return prepared.plan
            raise ConfigError("the certificates change faster than their files can be read; try again")

    def _prepare(
        self, settings: TlsSettings, *, is_fresh: bool = False, changed: Collection[str] | None = None
    ) -> Prepared:
        """Read all files; or those alone that have `changed`, of which some may stay as they are served."""
        wanted, ordered = self.ordered.added_to(settings)
        looking, there = Looking(), {} if changed is None else self.certificates.files

        def read(path: str) -> PemFile:
            if (file := ordered.get(path)) is not None:
                return file
            if changed is not None and path not in changed and path in there:
                return there[path]
            return looking.read(path)

        keeps_old = changed is not None
        plan = self.certificates.prepare(wanted, time.time(), read, fresh=is_fresh, keeps_old=keeps_old)
        return Prepared(plan, wanted, looking.seen, is_fresh)

    def _adopted(self, prepared: Prepared) -> None:
        """It is served from now on."""

    def _applying(self, prepared: Prepared) -> Iterator[None]:
        plan = prepared.plan
        yield from self.certificates.applying(plan)
        self._watch.note(prepared.seen, plan.refused_files)
        self._adopted(prepared)
        if prepared.is_fresh or plan.changes or not plan.refused:
            self.results["success"] += 1
        if plan.changes or plan.names_gained or plan.names_lost:
            summary = summary_of(plan)
            log.info("certificates swapped", detail=summary)
            _warn(plan)
            self._tell(CertificateEvent("swapped", summary))
        if plan.refused:
            self._refuse_once(ConfigError("\n  ".join(plan.refused), plan.refused))
        else:
            self.trouble = ""

    def _refuse_once(self, error: ConfigError) -> None:
        """It is found again with each look."""
        if str(error) != self.trouble:
            self._refuse(error)

    def _refuse(self, error: ConfigError) -> None:
        self.trouble = str(error)
        self.results["failure"] += 1
        log.error("certificates not swapped", why=str(error))
        self._tell(CertificateEvent("refused", str(error).partition("\n")[0]))

    def _tell(self, event: CertificateEvent) -> None:
        for tell in self._subscribers:
            tell(event)

    async def run(self) -> None:
        """Swap certificates when their files change, and keys of session tickets daily; until cancelled."""
        fresh_at, count_at = trio.current_time() + FRESH_SECONDS, trio.current_time()
        while True:
            with trio.move_on_after(LOOK_SECONDS):
                await self._has_news.wait()
            has_news, self._has_news = self._has_news.is_set(), trio.Event()
            is_fresh = trio.current_time() >= fresh_at
            if is_fresh:
                fresh_at += FRESH_SECONDS
            await self._look(has_news=has_news, is_fresh=is_fresh)
            if trio.current_time() >= count_at:
                count_at += COUNT_SECONDS
                await sliced(made(self.counting_down(time.time())))

    async def _look(self, *, has_news: bool, is_fresh: bool) -> None:
        """Swap what has changed. What could not be done then is tried again with the next look."""
        changed = await trio.to_thread.run_sync(self._watch.changed, self._watched())
        if not (changed or has_news or is_fresh or self._is_behind):
            return
        changed |= self._watch.refused

        def prepare() -> Prepared:
            return self._prepare(self._settings, is_fresh=is_fresh, changed=changed)

        try:
            await self._swap(prepare)
        except ConfigError as exc:
            self._is_behind = True
            self._refuse_once(exc)
        else:
            self._is_behind = False

    def counting_down(self, now: float) -> Iterator[None]:
        """Tell which certificates have come nearer to their end since the last time, in steps."""
        for reached in self._countdown.reaching(by_id(self.certificates.all).items(), now):
            if reached is not None:
                self._tell_of(reached, now)
            yield

    def _tell_of(self, reached: Reached, now: float) -> None:
        left = described(reached.certificate, now)
        if not reached.is_new:  # otherwise the warnings of its plan have said it
            log.warning(f"certificate {reached.stage}", certificate=reached.id, detail=left)
        self._tell(CertificateEvent(reached.stage, left, reached.id))

    def _watched(self) -> set[str]:
        """The files that the settings name, whether they can be used or not."""
        settings = self._settings
        files = {
            path for each in settings.certificates for path in (each.chain, each.key) if path is not None
        }
        authorities = {each.ca for each in settings.clients}
        return files | authorities | (set() if self._client_ca is None else {self._client_ca})


def summary_of(plan: Plan) -> str:
    """What a plan changes, in a line."""
    parts = [f"{len(plan.changes)} changed"] if plan.changes else []
    if plan.names_gained:
        parts.append(f"gains {_few(plan.names_gained)}")
    if plan.names_lost:
        parts.append(f"loses {_few(plan.names_lost)}")
    return "; ".join(parts) or "nothing changes"


def _few(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _warn(plan: Plan) -> None:
    for sentence in plan.warnings:
        log.warning("certificate", note=sentence)
