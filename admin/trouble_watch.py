"""Looks for trouble every LOOK_SECONDS, and tells of each that begins or ends.

What is counted is judged in slices, as thousands of backends are. So are the requests that run; with workers
each of these looks at its own.
"""

from collections.abc import Generator, Iterator
from statistics import median

import structlog

from admin.files_on_disk import FilesOnDisk
from admin.late_loop import LateLoop
from admin.views.running_json import waited_for
from admin.views.trouble_json import span, trouble_event
from lb.control import Control
from lb.core.backend import Backend
from lb.core.cluster_trouble import of_cluster
from lb.core.drain import Drain
from lb.core.measures.rates import Trend
from lb.core.tenses import ARE, FAILS, HAVE, IS, WAITS, Tenses, clause
from lb.core.trouble_kinds import THRESHOLDS, Found
from lb.core.trouble_rules import LONG_SECONDS, Survey, of_pool, of_waits, patience, percent
from lb.observe.all_exchanges import Patience
from lb.settings.balancer_settings import connection_limit
from lb.slices import freed, sliced
from lb.suggestions import plural

LOOK_SECONDS = 2.0
PAUSE_SECONDS = 60.0
"""How long nobody looks after a bug, which would come again."""
MOST_DRAINS = 5
"""Of so many drains that are stuck it is told whom they wait for."""
LOGGED = frozenset({"down", "ejected", "panic", "worker", "places", "renewal", "certificate"})
"""Kinds that have lines of their own in the log."""
BUSY = 0.5
"""Which part of the places for clients must be taken before it matters who has them."""

TAKEN = Tenses("are", "are", "were")
HOLD = Tenses("holds", "has held", "held")
ANSWER_NOT = Tenses("does not answer", "has not answered", "did not answer")
GO_ON = Tenses("goes on", "has gone on", "went on")
NAME_NOT = Tenses("does not name", "has not named", "did not name")
END = Tenses("ends", "ends", "was to end")
ENDED = Tenses("ended", "ended", "had ended")
NOT_RENEWED = Tenses("was not renewed", "was not renewed", "had not been renewed")

log = structlog.get_logger()


class TroubleWatch:
    """Fills `control.troubles`, and publishes the events `trouble`. One for each balancer."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._due = -1.0
        self._files = FilesOnDisk(control)
        self._loop = LateLoop(control)

    async def look(self) -> None:
        """Look, if LOOK_SECONDS are over since the last time.

        Error boundary: a bug in a rule is logged, and the publisher goes on.
        """
        if (now := self._control.registry.now()) < self._due:
            return
        self._due = now + LOOK_SECONDS
        try:
            found = await self._found()
            await sliced(self._telling(found))
            await freed(found)
        except Exception:
            log.exception("bug while looking for trouble")
            self._due = now + PAUSE_SECONDS

    async def _found(self) -> list[Found]:
        found = await sliced(self._finding())
        found += await self._files.mistakes()
        return found + await self._hanging() + await self._stuck()

    def _telling(self, found: list[Found]) -> Generator[None, None, None]:
        control, now = self._control, self._control.registry.now()
        for change, trouble in (yield from control.troubles.looking(found, now)):
            event = trouble_event(change, trouble, control.wall, now)
            control.feed.publish("trouble", event)
            if trouble.found.kind not in LOGGED:
                (log.warning if change == "began" else log.info)(event.kind, what=event.detail)
            yield

    def _finding(self) -> Generator[None, None, list[Found]]:
        control = self._control
        found = [*self._of_places(), *self._loop.found(), *self._of_workers(), *self._of_renewals()]
        found += self._of_sources()
        if (standing := control.cluster.standing()) is not None:
            found += of_cluster(standing)
        found += yield from self._of_certificates()
        for pool in [*control.registry.pools.values()]:
            survey = Survey()
            for backend in [*pool.backends]:
                survey.see(backend, control.sampler.of(backend).lately())
                yield
            found += yield from of_pool(pool, survey, control.sampler.of_pool(pool.name).lately())
        return found

    # -- the balancer itself ---------------------------------------------------------------------------

    def _of_places(self) -> Iterator[Found]:
        metrics, bar = self._control.metrics, THRESHOLDS["places"]
        most = connection_limit(self._control.config.limits)
        taken = sum(counts.open for counts in metrics.listeners.values())
        held_by = ""
        if metrics.addresses and taken >= BUSY * most:
            address, places = metrics.addresses.most_common(1)[0]
            if places >= bar.share * taken and len(metrics.addresses) > 1:
                held_by = f"{address} holds {percent(places / taken)} of them"
        if metrics.full_since is not None:
            yield Found(
                "places",
                "",
                what=clause(f"all {most} places for clients ", ARE, " taken"),
                why=held_by,
                advice="See limits.connections, and limits.connections_per_address for what one may have.",
                since=metrics.full_since,
            )
        elif held_by:
            yield Found(
                "places",
                "",
                what=clause(
                    f"of {taken} places for clients that ", TAKEN, " taken, one address ", HOLD, " most"
                ),
                why=held_by,
                advice="limits.connections_per_address bounds what one address may have.",
            )

    def _of_workers(self) -> Iterator[Found]:
        for worker in self._control.workers.list():
            if worker.state in ("ended", "silent"):
                words = ANSWER_NOT if worker.state == "silent" else clause(IS, " gone")
                yield Found(
                    "worker",
                    str(worker.number),
                    what=clause(f"worker {worker.number} ", words),
                    advice="The others carry its traffic. One that has ended is started again, and the log "
                    "says how it ended.",
                    since=worker.since,
                )
            for each in worker.behind:
                yield Found(
                    "worker",
                    f"{worker.number} {each.what}",
                    what=clause(f"worker {worker.number} ", GO_ON, f" with the former {each.what}"),
                    why=each.why,
                    advice="It tries again by itself, or with the next change.",
                )

    def _of_sources(self) -> Iterator[Found]:
        for each in self._control.discovery.standings():
            name = f"source {each.name} of pool {each.pool}"
            if each.error:
                yield Found(
                    "source",
                    f"{each.pool} {each.name}",
                    what=clause(f"{name} ", FAILS),
                    why=each.error,
                    advice=f"Look at {each.where}. What it said last is used on, and it is asked again.",
                    pool=each.pool,
                )
            if each.held:
                yield Found(
                    "held",
                    f"{each.pool} {each.name}",
                    what=clause(
                        f"{name} ", NAME_NOT, f" {plural(len(each.held), 'backend')} that may still be used"
                    ),
                    why=next(iter(each.held.values())),
                    advice=f"If it is right: POST /pools/{each.pool}/discover/accept.",
                    pool=each.pool,
                )

    # -- certificates ----------------------------------------------------------------------------------

    def _of_certificates(self) -> Generator[None, None, list[Found]]:
        tls, found = self._control.tls, list[Found]()
        if tls is None:
            return found
        now = self._control.wall(self._control.registry.now())
        for certificate in tls.certificates.all:
            left = certificate.not_after - now
            if left < THRESHOLDS["certificate"].seconds and certificate.lifetime_left(now) < 0.25:
                name = certificate.names[0] if certificate.names else certificate.subject
                ends = clause(END, f" in {span(left)}") if left > 0 else clause(ENDED, f" {span(-left)} ago")
                found.append(
                    Found(
                        "certificate",
                        certificate.fingerprint,
                        what=clause(f"the certificate of {name} ", ends),
                        advice=f"Put a new one into {certificate.chain_file}; it is taken up by itself.",
                        lasts=False,
                    )
                )
            yield
        if tls.trouble:
            found.append(
                Found(
                    "file",
                    "certificates",
                    what=clause(
                        "the files of certificates ", HAVE, " a mistake, so the former ones ", ARE, " used"
                    ),
                    why=tls.trouble.partition("\n")[0].strip(),
                    advice="`lb certificates` shows all. The files are read again when they change.",
                    lasts=False,
                )
            )
        return found

    def _of_renewals(self) -> Iterator[Found]:
        for each in self._control.renewals.standings():
            if each.failures_in_a_row >= THRESHOLDS["renewal"].least_failures:
                yield Found(
                    "renewal",
                    each.name,
                    what=clause(
                        f"the certificate of {each.name} ",
                        NOT_RENEWED,
                        f" in {plural(each.failures_in_a_row, 'attempt')}",
                    ),
                    why=each.why,
                    advice="It is tried again by itself.",
                    lasts=False,
                )

    # -- requests that hang ----------------------------------------------------------------------------

    async def _hanging(self) -> list[Found]:
        """Who waits far longer for a response than is usual in the pool; with workers these are asked."""
        control = self._control
        usual = await sliced(self._usual())
        waits = await control.exchanges.waits(
            Patience({pool: patience(seconds) for pool, seconds in usual.items()}, LONG_SECONDS)
        )
        return [*of_waits(waits.items, usual, control.registry.now())]

    def _usual(self) -> Generator[None, None, dict[str, float]]:
        """What the answers of each pool have usually taken in the last minutes."""
        usual = {}
        for name in [*self._control.registry.pools]:
            if (seconds := _usual(self._control.sampler.of_pool(name))) is not None:
                usual[name] = seconds
            yield
        return usual

    # -- drains ----------------------------------------------------------------------------------------

    async def _stuck(self) -> list[Found]:
        """Drains that last long, and whom they wait for; with workers these are asked."""
        now = self._control.registry.now()
        drains = [(each, each.drain) for each in self._control.registry.draining if each.drain is not None]
        stuck = [(backend, drain) for backend, drain in drains if _is_stuck(backend, drain, now)]
        return [await self._drain(backend, drain) for backend, drain in stuck[:MOST_DRAINS]]

    async def _drain(self, backend: Backend, drain: Drain) -> Found:
        waits = await waited_for(self._control, backend)
        longest = [
            f"{each.method} {each.target} of {each.client} for {span(each.seconds)}" for each in waits[:1]
        ]
        return Found(
            "drain",
            backend.id,
            what=clause(f"the drain of {backend.id} ", WAITS, f" for {plural(backend.in_flight, 'request')}"),
            why=f"the longest is {longest[0]}" if longest else "",
            advice="`lb why --running` shows them; `lb requests end ID` ends one.",
            pool=backend.pool,
            backend=backend.id,
            since=drain.started,
        )


def _usual(trend: Trend) -> float | None:
    """The median of the medians, so that a short time in which all is slow does not count."""
    medians = [point.p50_seconds for point in trend.points if point.p50_seconds is not None]
    return median(medians) if medians else None


def _is_stuck(backend: Backend, drain: Drain, now: float) -> bool:
    return (
        drain.outcome is None and not backend.is_idle and now - drain.started >= THRESHOLDS["drain"].seconds
    )
