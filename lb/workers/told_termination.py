"""TLS with the clients of one worker: it serves the certificates that the keeper has read.

The keeper tells what is in the files, so all workers serve the same, also one that starts while a file is
half written. What the keeper could use a worker can use too, unless it lacks memory or descriptors. Then it
keeps what it had, says so, and tries again.
"""

import time
from collections.abc import Callable

import structlog
import trio

from lb.certificate_files.handshaking import Handshaking
from lb.errors import ConfigError
from lb.settings.tls_settings import TlsSettings
from lb.slices import made, to_the_end
from lb.tls.certificates import Plan
from lb.tls.pem_files import PemFile
from lb.workers.messages import CERTIFICATES, Busy, TlsFiles
from lb.workers.second_try import SecondTry

BUSY_SECONDS = 1.0
"""So often a worker says that it goes on: a certificate takes it some milliseconds, and there may be many."""

log = structlog.get_logger()


class ToldTermination(Handshaking):
    """What TLS listeners need. `say` sends to the keeper; `run` is its task."""

    def __init__(self, say: Callable[[object], None]) -> None:
        super().__init__(TlsSettings())
        self._say = say
        self._keys = 0
        self._second_try = SecondTry(CERTIFICATES, say)
        self._told: TlsFiles | None = None
        self._one_at_a_time = trio.Lock()

    async def be_told(self, told: TlsFiles) -> None:
        """Serve these certificates. ConfigError where they cannot be used and there are none before them."""
        self._told = told
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_busy)
            try:
                await self._serve(told)
            except ConfigError as exc:
                if not self.certificates.revision:
                    raise
                log.error("certificates not swapped", why=str(exc))
                self._second_try.failed(str(exc))
            nursery.cancel_scope.cancel()

    async def _say_busy(self) -> None:
        while True:
            await trio.sleep(BUSY_SECONDS)
            self._say(Busy())

    async def run(self) -> None:
        """Try again what could not be done, until cancelled."""
        await self._second_try.run(self._serve_last)

    async def _serve_last(self) -> None:
        assert self._told is not None
        await self._serve(self._told)

    async def _serve(self, told: TlsFiles) -> None:
        """Unless others were told meanwhile, which are served then."""
        async with self._one_at_a_time:
            plan = await trio.to_thread.run_sync(self._planned, told)
            if told is self._told:
                await to_the_end(made(self.certificates.applying(plan)))
                self._settings, self._keys = told.settings, told.keys
                if self._second_try.done():
                    log.info("certificates swapped", note="what could not be done before")

    def _planned(self, told: TlsFiles) -> Plan:
        files = {path: PemFile(path, data, mode) for path, data, mode in told.files}
        is_fresh = told.keys != self._keys
        return self.certificates.prepare(told.settings, time.time(), files.__getitem__, fresh=is_fresh)
