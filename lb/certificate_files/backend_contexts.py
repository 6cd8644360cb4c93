"""The contexts for TLS with backends, one for each way that pools set it.

Those of the configuration are made before the first request, others where they are first needed. Their files
are looked at now and then. A file that has become useless leaves the context that there was, and a line in
the log.
"""

import time
from collections.abc import Mapping

import structlog
import trio

from lb.certificate_files.watch import Looking, Seen, Watch
from lb.errors import ConfigError
from lb.settings.pool_settings import SYSTEM, BackendTls
from lb.tls.to_backends import ToBackends, to_backends

LOOK_SECONDS = 5.0

log = structlog.get_logger()


class BackendContexts:
    """Gives the context for a pool's settings. `run` is its task, which swaps what was in changed files."""

    def __init__(self) -> None:
        self._made: dict[BackendTls, ToBackends] = {}
        self._refused: dict[BackendTls, str] = {}
        self._watch = Watch()
        self._one_at_a_time = trio.Lock()

    def prepare(self, settings: BackendTls) -> None:
        """Make the context for these settings. It blocks; ConfigError where a file cannot be used."""
        if settings not in self._made:
            self._made[settings], seen = _make(settings)
            self._watch.note(seen, self._watch.refused)

    async def get(self, settings: BackendTls) -> ToBackends:
        """The context for these settings; ConfigError as `prepare`."""
        made = self._made.get(settings)
        if made is None:
            async with self._one_at_a_time:
                await trio.to_thread.run_sync(self.prepare, settings)
            made = self._made[settings]
        return made

    async def run(self) -> None:
        """Look at the files, until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            files = {path for settings in self._made for path in _files(settings)}
            changed = await trio.to_thread.run_sync(self._watch.changed, files) if files else frozenset()
            for settings in list(self._made):
                if not changed.isdisjoint(_files(settings)):
                    await self._swap(settings)

    async def _swap(self, settings: BackendTls) -> None:
        """Where this balancer lacks descriptors the files are noted as nothing, so it is tried again soon."""
        looking = Looking()
        try:
            self._made[settings], _ = await trio.to_thread.run_sync(_make, settings, looking)
        except ConfigError as exc:
            self._refuse(settings, str(exc))
        except OSError as exc:
            self._refuse(settings, str(exc))
            return
        else:
            self._refused.pop(settings, None)
            log.info("certificates swapped", files=_files(settings))
        refused = frozenset(path for each in self._refused for path in _files(each))
        self._watch.note(looking.seen, refused)

    def _refuse(self, settings: BackendTls, why: str) -> None:
        """It may be found again with each look."""
        if self._refused.get(settings) != why:
            self._refused[settings] = why
            log.error("certificates not swapped", why=why)


def _make(settings: BackendTls, looking: Looking | None = None) -> tuple[ToBackends, Mapping[str, Seen]]:
    looking = looking or Looking()
    made = to_backends(settings, looking.read)
    for note in made.warnings(time.time()):
        log.warning("certificate", note=note)
    return made, looking.seen


def _files(settings: BackendTls) -> tuple[str, ...]:
    authorities = () if settings.ca == SYSTEM else (settings.ca,)
    return tuple(path for path in (*authorities, settings.chain, settings.key) if path is not None)
