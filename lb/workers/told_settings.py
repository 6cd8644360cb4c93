"""The settings of one worker, as the keeper tells them.

The keeper has judged them. What it could use a worker can use too, unless it lacks descriptors, or may not
open a log file. Then it goes on with those that it had, says so, and tries again.
"""

from collections.abc import Callable

import structlog
import trio

from lb.core.routes import Routes
from lb.errors import ConfigError
from lb.observe.access_log import AccessLog
from lb.settings.balancer_settings import Config
from lb.workers.messages import SETTINGS
from lb.workers.second_try import SecondTry

log = structlog.get_logger()


class ToldSettings:
    """Adopts settings whole, or not at all. `say` sends to the keeper; `run` is its task."""

    def __init__(
        self, adopt: Callable[[Config, Routes], None], access_log: AccessLog, say: Callable[[object], None]
    ) -> None:
        self._adopt = adopt
        self._access_log = access_log
        self._told: Config | None = None
        self._second_try = SecondTry(SETTINGS, say)
        self._one_at_a_time = trio.Lock()

    async def be_told(self, config: Config) -> None:
        """Use these settings from the next request on."""
        self._told = config
        try:
            await self._use(config)
        except ConfigError as exc:
            log.error("settings not applied", why=str(exc))
            self._second_try.failed(str(exc))

    async def run(self) -> None:
        """Try again what could not be done, until cancelled."""
        await self._second_try.run(self._use_last)

    async def _use_last(self) -> None:
        assert self._told is not None
        await self._use(self._told)

    async def _use(self, config: Config) -> None:
        """Unless others were told meanwhile, which are used then."""
        async with self._one_at_a_time:
            routes = await trio.to_thread.run_sync(_routes, config)
            await trio.to_thread.run_sync(self._access_log.prepare, config.access_log)
            if config is not self._told:
                return
            self._adopt(config, routes)
            self._access_log.adopt(config.access_log)
            self._second_try.done()


def _routes(config: Config) -> Routes:
    return Routes(config.routes, path_policy=config.path_policy)
