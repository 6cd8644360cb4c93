"""The balancer of the keeper's process: it decides and serves operators; its workers carry the traffic.

    keeper ─┬─ fleet        one task for each worker process (`lb.workers.fleet`)
            ├─ stopping     waits for the wish, and ends the fleet
            ├─ names, sources, cluster, certificates, probes, time, state and others: as in `lb.app`
            └─ services     demo backends and admin, as handed to `run`; they end last

Who runs it as a program need not know which balancer it is (`lb.app.AnyBalancer`).
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import trio

from lb.app import SERVICES_END_SECONDS, AnyBalancer, Service, start_services
from lb.config.config_source import ConfigSource
from lb.config.inheritance import Inheritance
from lb.config.tls_check import check_backend_files, listens_with_tls, serves_tls
from lb.net.listener import Listener
from lb.observe.log_file import check
from lb.settings.balancer_settings import AccessLogSettings, Config
from lb.workers.accounts import Accounts
from lb.workers.fleet import Fleet
from lb.workers.fleet_exchanges import FleetExchanges

if TYPE_CHECKING:
    from lb.workers.fleet_termination import FleetTermination


class LogsOfWorkers:
    """The access log, as a reload in the keeper needs it: the workers write it, and hear of its settings."""

    def prepare(self, settings: AccessLogSettings) -> None:
        """ConfigError where the file cannot be opened; then the workers are told nothing."""
        if settings.file is not None:
            check(settings.file)

    def adopt(self, settings: AccessLogSettings) -> None:
        """Nothing: the workers have done so."""


class Keeper(AnyBalancer):
    """One balancer of several processes, built from its configuration, not yet running."""

    def __init__(
        self,
        config: Config,
        count: int,
        source: ConfigSource | None = None,
        inheritance: Inheritance | None = None,
    ) -> None:
        logs = LogsOfWorkers()
        logs.prepare(config.access_log)
        check_backend_files(config)  # a worker reads them when it first needs them
        super().__init__(config, inheritance)
        termination = _termination(config)
        handshakes = None if termination is None else termination.handshakes
        self.control.workers = accounts = Accounts(self.registry, self.metrics, count, handshakes)
        key = self.cookie_keys.random_key
        self._fleet = Fleet(config, count, self.registry, self.names, key, accounts)
        self._steering.steer(self._fleet, source, logs, termination, self._refusals)
        self.control.save = self.save
        self.control.exchanges = exchanges = FleetExchanges(self._fleet.links, self.registry)
        self._fleet.on_failed = exchanges.hear_failed
        if termination is not None and listens_with_tls(config):
            self._fleet.tls_files = termination.files
            self._fleet.on_not_swapped = termination.not_swapped
            termination.tell, termination.applied = self._fleet.serve_files, self._fleet.applied

    def reopen_logs(self) -> bool:
        if self.config.access_log.file is None:
            return False
        self._fleet.reopen_logs()
        return True

    async def save(self) -> bool:
        """As any balancer, but first wait until every worker has applied what was decided."""
        await self._fleet.applied()
        return await super().save()

    async def _refusals(self) -> Sequence[str]:
        """Who has not applied something, and why, in a sentence each, once all have had the time to."""
        await self._fleet.applied()
        return [str(each) for each in self.control.workers.behind()]

    def hand_over(self, addresses: Collection[str]) -> None:
        self._fleet.is_handed_over = True
        super().hand_over(addresses)

    def _give_last_chance(self, seconds: float) -> None:
        self._fleet.give_last_chance(seconds)

    async def prepare(self) -> None:
        """The processes of the workers take longest to start."""
        await self._fleet.prepare(self._all_listeners())

    async def run(
        self,
        before: Sequence[Service] = (),
        beside: Sequence[Service] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await self._listen()
        over = trio.Event()
        try:
            async with trio.open_nursery() as background:
                for task in self._steering.tasks():
                    background.start_soon(task)
                await self._steering.first_found()
                async with trio.open_nursery() as services:
                    await start_services(services, before, self.control, over)
                    beside = await self._let_in(services, beside, over)
                    if self.is_waiting:
                        task_status.started()
                    else:
                        await self._run_fleet(services, beside, over, task_status)
                    over.set()
                    services.cancel_scope.deadline = trio.current_time() + SERVICES_END_SECONDS
                background.cancel_scope.cancel()
        finally:
            for listener in self._all_listeners():
                listener.close()
            self.cut = self._fleet.cut

    async def _run_fleet(
        self,
        services: trio.Nursery,
        beside: Sequence[Service],
        over: trio.Event,
        task_status: trio.TaskStatus[None],
    ) -> None:
        listeners = self._all_listeners()
        async with trio.open_nursery() as fleet:
            fleet.start_soon(self._stop_in_time, listeners)
            await fleet.start(self._fleet.run, listeners)
            await start_services(services, beside, self.control, over)
            task_status.started()

    async def _stop_in_time(self, listeners: Sequence[Listener]) -> None:
        """Wait for the wish to stop, which may come while workers start, and begin the end of the fleet."""
        await self._steering.stop_wished.wait()
        self._fleet.drain(True)
        await self._steering.let_others_look()
        for listener in listeners:
            listener.close()
        await self._fleet.stop(self.config.timeouts.grace)


def _termination(config: Config) -> "FleetTermination | None":
    """The certificates of listeners with TLS, the operator's too; it is imported where there are any."""
    if not serves_tls(config):
        return None
    from lb.tls.requirement import check_installed

    check_installed("listen" if listens_with_tls(config) else "admin.listen")
    from lb.workers.fleet_termination import FleetTermination

    return FleetTermination(config)
