"""/log-level: the level of the log, changed while the balancer runs."""

import pytest
import trio

from lb.control import Control
from lb.observe.log_level import LogLevels
from tests.admin.kit import Api


async def test_the_level_is_shown_and_changed(api: Api, control: Control) -> None:
    told: list[tuple[str, str]] = []
    control.log_levels.subscribe(lambda level, why: told.append((level, why)))
    shown = (await api("GET", "/log-level")).json
    assert shown == {"level": "info", "configured": "info", "seconds_left": None}
    changed = (await api("PUT", "/log-level", form="level=debug&for=5m")).json
    assert changed == {"level": "debug", "configured": "info", "seconds_left": 300.0}
    assert (await api("PUT", "/log-level?level=configured")).json == shown
    assert told == [("debug", "for 300 s"), ("info", "as configured")]
    entries = control.audit.newest()
    assert [(each.operation, each.changes) for each in entries] == [
        ("PUT /log-level", {"log_level": ("debug", "info")}),
        ("PUT /log-level", {"log_level": ("info", "debug")}),
    ]


@pytest.mark.parametrize("form", ["", "level=loud", "level=debug&for=soon", "level=debug&until=5m"])
async def test_what_is_no_level_is_refused(api: Api, control: Control, form: str) -> None:
    assert (await api("PUT", "/log-level", form=form)).status == 422
    assert control.log_levels.level == "info"


async def test_a_level_for_some_time_goes_back_by_itself(autojump_clock: object) -> None:
    levels = LogLevels("warning", trio.current_time)
    told: list[tuple[str, str, float]] = []
    levels.subscribe(lambda level, why: told.append((level, why, trio.current_time())))
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(levels.run)
        levels.choose("debug", 60.0)
        await trio.sleep(30)
        assert levels.seconds_left == 30.0
        levels.choose("debug", 90.0)
        await trio.sleep(200)
        levels.configure("error")
        levels.choose("error", 5.0)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [(level, why, at - start) for level, why, at in told] == [
        ("debug", "for 60 s", 0.0),
        ("warning", "its time is over", 120.0),
        ("error", "as configured", 230.0),
    ]
