"""Ordered certificates of one balancer: which names it wants, what is served of them, who hears of it.

    wanted names (names, or hosts of routes) -> renewer -> Termination.ordered -> served
                                                        -> log, feed, metrics

It belongs to the process that decides, which is the keeper where there are workers. The settings may change
with each reload: then another renewer takes over. What the folder has is served from the start on, before the
first client is accepted.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
import trio

from lb.acme.storage import Pair, Storage, StorageError
from lb.certificate_files.termination import Termination
from lb.core.renewal import Failures
from lb.core.renewal_view import Kind, RenewalEvent, Standing
from lb.errors import ConfigError
from lb.settings.acme_settings import FROM_ROUTES, AcmeSettings, wanted_names
from lb.settings.balancer_settings import Config
from lb.tls.table import Table

if TYPE_CHECKING:
    from lb.acme.renewer import Renewer

log = structlog.get_logger()


class Upkeep:
    """The `lb.core.renewal_view.Renewals` of a balancer with TLS listeners.

    `config` returns the current one. `take_stored` is for the start, `configured` for each reload, `run` is
    the task.
    """

    def __init__(self, config: Callable[[], Config], termination: Termination) -> None:
        self.results: Counter[str] = Counter(success=0, failure=0)
        self._config = config
        self._termination = termination
        self._subscribers: list[Callable[[RenewalEvent], None]] = []
        self._renewer: Renewer | None = None
        self._has_changed = trio.Event()
        self._wanted_of: tuple[Config, Table, Sequence[str]] | None = None

    # -- for operators -----------------------------------------------------------------------------------

    def standings(self) -> Sequence[Standing]:
        """All wanted names in their order; none before the folder was looked at."""
        return () if self._renewer is None else self._renewer.standings()

    def renew(self, name: str) -> float | None:
        """Have this name renewed as soon as its authorities allow; as `lb.core.renewal_view.Renewals`."""
        if self._renewer is None:
            raise LookupError(name)
        return self._renewer.renew(name)

    def subscribe(self, tell: Callable[[RenewalEvent], None]) -> None:
        """Call `tell` with every event from now on; it neither raises nor waits."""
        self._subscribers.append(tell)

    # -- what is served ----------------------------------------------------------------------------------

    def take_stored(self) -> None:
        """Serve what the folder has of the wanted names, and tell which wait after a failure. It blocks.

        What cannot be used is left to the renewer, which looks at the folder first of all, and tells it.
        """
        acme = self._config().tls.acme
        if acme is None:
            return
        storage = Storage(acme.storage)
        found = [self._take_stored(storage, name) for name in self._wanted()]
        if any(found):
            self._termination.swap_now()
        for name in self._wanted():
            with suppress(StorageError):
                _tell_of_wait(name, storage.failures(name))

    def _take_stored(self, storage: Storage, name: str) -> bool:
        try:
            pair = storage.certificate(name)
            return pair is not None and self._put(storage, name, pair)
        except (StorageError, ConfigError):
            return False

    def _put(self, storage: Storage, name: str, pair: Pair) -> bool:
        path = str(storage.certificate_file(name))
        return self._termination.ordered.put(path, pair.key + pair.chain)

    def _install(self, name: str, pair: Pair) -> None:
        """Serve a certificate that was issued, or found in the folder."""
        acme = self._config().tls.acme
        if acme is None:
            return
        try:
            if self._put(Storage(acme.storage), name, pair):
                self._termination.swap_soon()
        except ConfigError as exc:
            log.error("ordered certificate not served", name=name, why=str(exc))

    def _forget_unwanted(self) -> None:
        acme = self._config().tls.acme
        paths: set[str] = set()
        if acme is not None:
            storage = Storage(acme.storage)
            paths = {str(storage.certificate_file(name)) for name in self._wanted()}
        if self._termination.ordered.keep(paths):
            self._termination.swap_soon()

    # -- which names -------------------------------------------------------------------------------------

    def _wanted(self) -> Sequence[str]:
        """The names to be ordered. They are worked out anew where the configuration or a file has changed."""
        config, table = self._config(), self._termination.certificates.table
        if self._wanted_of is None or self._wanted_of[0] is not config or self._wanted_of[1] is not table:
            self._wanted_of = config, table, self._names(config)
        return self._wanted_of[2]

    def _names(self, config: Config) -> Sequence[str]:
        acme = config.tls.acme
        if acme is None:
            return ()
        names = wanted_names(acme, (route.host for route in config.routes))
        if acme.names != FROM_ROUTES:
            return names
        theirs = self._names_of_files()
        return [name for name in names if not {name, f"*.{name.partition('.')[2]}"} & theirs]

    def _names_of_files(self) -> set[str]:
        """The names in certificates that the settings name: for these, routes need no other."""
        termination = self._termination
        files = [each for each in termination.certificates.all if each.chain_file not in termination.ordered]
        return {name for each in files for name in each.names}

    # -- the task ----------------------------------------------------------------------------------------

    def configured(self) -> None:
        """The configuration has changed."""
        self._has_changed.set()

    async def run(self) -> None:
        """Renew by the settings of the moment, until cancelled."""
        while True:
            acme = self._config().tls.acme
            if acme is None:
                await self._change()
            else:
                await self._renew_by(acme)

    async def _renew_by(self, acme: AcmeSettings) -> None:
        """Until the settings are others."""
        from lb.acme.renewer import Renewer

        self._renewer = renewer = Renewer(acme, self._wanted, self._install, self._hear)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(renewer.run)
            while self._config().tls.acme == acme:
                await self._change()
                renewer.look_again()
            nursery.cancel_scope.cancel()
        self._renewer = None

    async def _change(self) -> None:
        await self._has_changed.wait()
        self._has_changed = trio.Event()
        self._forget_unwanted()

    def _hear(self, event: RenewalEvent) -> None:
        """An attempt that failed has a next one; what has none is trouble with the folder."""
        if event.kind is Kind.RENEWED:
            self.results["success"] += 1
        elif event.kind is Kind.FAILED and event.name and event.next_attempt is not None:
            self.results["failure"] += 1
        tell = log.error if event.kind is Kind.FAILED else log.info
        tell(str(event.kind), name=event.name, detail=event.text, next_attempt=_day(event.next_attempt))
        for each in self._subscribers:
            each(event)


def _tell_of_wait(name: str, failures: Failures) -> None:
    """Otherwise a program whose settings were just mended would be silent until the next attempt."""
    if failures.again_at > time.time():
        again = _day(failures.again_at)
        log.warning("renewal waits", name=name, detail=failures.why, next_attempt=again)


def _day(instant: float | None) -> str | None:
    if instant is None:
        return None
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
