"""The log has a line for each change of a backend, and one line for many."""

import trio
from structlog.testing import capture_logs
from structlog.typing import EventDict

from lb.core.registry import Event, Registry
from lb.observe.change_log import LINES, SECONDS, ChangeLog
from lb.settings.backend_spec import BackendSpec
from tests.core.scene import registry as make_registry
from tests.kit import virtual_time

pytestmark = virtual_time


def changed(log: ChangeLog, registry: Registry, kind: str, count: int) -> None:
    backend = registry.backends["web1"]
    for _ in range(count):
        log.changed(Event(kind, backend, "why"))


def scene() -> tuple[ChangeLog, Registry]:
    registry = make_registry(lambda: 0.0)
    registry.add_pool("default")
    registry.add(BackendSpec(id="web1", url="http://10.0.0.1:80"))
    return ChangeLog(), registry


def summed_up(lines: list[EventDict]) -> list[tuple[str, object, str]]:
    return [(each["event"], each["more"], each["log_level"]) for each in lines if "more" in each]


async def test_each_of_a_few_changes_has_a_line() -> None:
    log, registry = scene()
    with capture_logs() as lines:
        changed(log, registry, "down", 1)
    about = {"backend": "web1", "pool": "default", "detail": "why"}
    assert lines == [{"event": "backend down", "log_level": "warning", **about}]


async def test_of_many_changes_of_a_kind_the_rest_are_counted() -> None:
    log, registry = scene()
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.run)
            changed(log, registry, "added", LINES + 7)
            changed(log, registry, "down", LINES + 1)
            changed(log, registry, "ready", LINES)
            assert len(lines) == 3 * LINES
            await trio.sleep(2 * SECONDS)
            assert summed_up(lines) == [("backends added", 7, "info"), ("backends down", 1, "warning")]
            changed(log, registry, "added", 1)
            assert lines[-1]["event"] == "backend added"
            nursery.cancel_scope.cancel()
    assert len(lines) == 3 * LINES + 3


async def test_what_is_counted_is_told_at_the_end() -> None:
    log, registry = scene()
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.run)
            changed(log, registry, "removed", LINES + 1)
            await trio.sleep(SECONDS / 2)
            nursery.cancel_scope.cancel()
    assert summed_up(lines) == [("backends removed", 1, "info")]
