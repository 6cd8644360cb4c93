"""A worker uses the settings that it is told, whole, or those before."""

import trio

from lb.config.loader import build
from lb.core.routes import Routes
from lb.errors import ConfigError
from lb.settings.balancer_settings import AccessLogSettings, Config
from lb.workers.messages import SETTINGS, NotApplied
from lb.workers.second_try import AGAIN_SECONDS
from lb.workers.told_settings import ToldSettings
from tests.kit import virtual_time

pytestmark = virtual_time
WHY = "access_log.file: /log cannot be opened: Permission denied"


class Logs:
    """Stands for the access log: one that cannot be opened while it is `shut`."""

    def __init__(self) -> None:
        self.shut = False
        self.tried = 0
        self.adopted: list[AccessLogSettings] = []

    def prepare(self, settings: AccessLogSettings) -> None:
        self.tried += 1
        if self.shut and settings.file:
            raise ConfigError(WHY)

    def adopt(self, settings: AccessLogSettings) -> None:
        self.adopted.append(settings)


class Stage:
    def __init__(self) -> None:
        self.logs = Logs()
        self.adopted: list[Config] = []
        self.said: list[object] = []
        self.here = ToldSettings(self._adopt, self.logs, self.said.append)  # type: ignore[arg-type]

    def _adopt(self, config: Config, routes: Routes) -> None:
        assert routes.has("a.test")
        self.adopted.append(config)


def config(**more: object) -> Config:
    return build({"routes": [{"host": "a.test", "pool": "default"}], "pools": {"default": {}}, **more})


async def test_what_it_is_told_it_uses() -> None:
    it, told = Stage(), config()
    await it.here.be_told(told)
    assert (it.adopted, it.logs.adopted, it.said) == ([told], [told.access_log], [])


async def test_what_cannot_be_used_is_told_and_changes_nothing_until_it_can() -> None:
    it, first, second = Stage(), config(), config(access_log={"file": "/log"})
    await it.here.be_told(first)
    it.logs.shut = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.here.run)
        await it.here.be_told(second)
        began = trio.current_time()
        while it.logs.tried < 4:  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(AGAIN_SECONDS)
        assert trio.current_time() - began >= 2 * AGAIN_SECONDS
        assert (it.adopted, it.said) == ([first], [NotApplied(SETTINGS, WHY)])
        it.logs.shut = False
        while len(it.said) < 2:  # noqa: ASYNC110
            await trio.sleep(AGAIN_SECONDS)
        assert (it.adopted, it.said[1:]) == ([first, second], [NotApplied(SETTINGS, "")])
        nursery.cancel_scope.cancel()


async def test_others_that_can_be_used_end_it_at_once() -> None:
    it, third = Stage(), config()
    it.logs.shut = True
    await it.here.be_told(config(access_log={"file": "/log"}))
    await it.here.be_told(third)
    assert (it.adopted, it.said[1:]) == ([third], [NotApplied(SETTINGS, "")])
