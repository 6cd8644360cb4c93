"""TLS with the clients of all workers: the keeper reads and judges the files, and the workers serve them.

A change is prepared here as in a balancer of one process, contexts included, so what OpenSSL does not take is
refused before a worker hears of it. Then all workers are told the same, at the same moment. Handshakes are
the workers'; what they report of them is added here (`lb.workers.sums`).
"""

from collections.abc import Awaitable, Callable

import trio

from lb.certificate_files.termination import Prepared, Termination
from lb.errors import ConfigError
from lb.settings.balancer_settings import Config
from lb.tls.certificates import Plan
from lb.workers.messages import TlsFiles


async def by_all() -> None:
    """What there is to be waited for where there are no workers."""
    await trio.lowlevel.checkpoint()


class FleetTermination(Termination):
    """The certificates of a balancer with workers.

    `files` are told to every worker that starts, and `tell` is called with others. `applied` waits until all
    workers have applied what they were told.
    """

    def __init__(self, config: Config) -> None:
        self._keys = 0
        self._not_swapped: dict[int, str] = {}
        self.files = TlsFiles(config.tls, [], 0)
        self.tell: Callable[[TlsFiles], None] = lambda _files: None
        self.applied: Callable[[], Awaitable[None]] = by_all
        super().__init__(config)

    async def reload(self, *, fresh: bool = False) -> Plan:
        """Read the files again, and return when all workers serve what they hold.

        ConfigError where nothing has changed, or not in all workers; it says which of the two.
        """
        self._not_swapped.clear()
        plan = await super().reload(fresh=fresh)
        await self.applied()
        if self._not_swapped:
            raise ConfigError("; ".join(_sentence(*each) for each in self._not_swapped.items()))
        return plan

    def not_swapped(self, worker: int, why: str) -> None:
        """This worker cannot use what it was told, and keeps what it had."""
        self._not_swapped[worker] = why
        self._refuse(ConfigError(_sentence(worker, why)))

    def _adopted(self, prepared: Prepared) -> None:
        self._keys += prepared.is_fresh
        files = [(each.path, each.data, each.mode) for each in prepared.plan.files.values()]
        now = TlsFiles(prepared.settings, files, self._keys)
        if now != self.files:
            self.files = now
            self.tell(now)


def _sentence(worker: int, why: str) -> str:
    return f"worker {worker} serves the certificates that it had, and tries again: {why}"
