"""After each attack everything is as it was: no task is left, no reader, and the registry has not changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from admin.server import supervised
from admin.transport.bounded_stream import SEND_SECONDS
from lb.control import Control
from tests.admin.kit import Add, Serve, Service
from tests.system import attacks


@pytest.fixture
async def secured(control: Control, add: Add) -> Serve:
    """The service with a token, in front of one backend."""
    add("web1")

    @asynccontextmanager
    async def serve() -> AsyncIterator[Service]:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(supervised, control, attacks.TOKEN, stop=stop))
            host, _, port = bound.rpartition(":")
            yield Service(control, host, int(port), stop)
            stop.set()

    return serve


def tasks() -> int:
    """All that are alive in this run."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return below(root)


def below(task: trio.lowlevel.Task) -> int:
    return 1 + sum(below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


async def until_it_is(count: int) -> None:
    with trio.fail_after(2 * SEND_SECONDS):
        while tasks() > count:  # noqa: ASYNC110 - nothing tells that a task has ended
            await trio.sleep(0.01)


@pytest.mark.parametrize("attack", attacks.ALL)
async def test_an_attack_leaves_nothing_behind(
    secured: Serve, control: Control, attack: attacks.Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "MANY", 40)
    monkeypatch.setattr(attacks, "SECONDS", 0.1)
    async with secured() as service:
        target = attacks.Target(f"{service.host}:{service.port}")
        assert await target.asks("GET /info", attacks.BEARER) == 200
        before, revision = tasks(), control.registry.revision
        await attack(target)
        await until_it_is(before)  # until then the connections of the attack may hold every place
        assert await target.asks("GET /info", attacks.BEARER) == 200
        await until_it_is(before)
        assert (control.feed.readers, control.registry.revision) == (0, revision)
        assert control.metrics.admin_restarts == 0
        assert not [code for _route, _method, code in control.metrics.admin_requests if code >= 500]
