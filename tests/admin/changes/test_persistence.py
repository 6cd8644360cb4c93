"""Whether a change is saved, and what is answered where it cannot be."""

import errno

import pytest
import trio

from lb.control import Control
from lb.core.backend import AdminState
from tests.admin.kit import Add, Api, Saves

WEB1 = {"id": "web1", "url": "http://10.0.0.1:80"}


async def test_a_client_that_leaves_at_once_still_has_its_change_saved(
    api: Api, add: Add, saves: Saves
) -> None:
    backend = add("web1")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api, "POST", "/backends/web1/maintenance")
            while backend.admin_state is AdminState.READY:
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert saves.count == 1


@pytest.mark.parametrize("has_file", [True, False])
async def test_every_change_says_whether_it_was_written_down(
    api: Api, add: Add, saves: Saves, has_file: bool
) -> None:
    add("web1")
    saves.has_file = has_file
    changes = [
        ("POST", "/backends", {"id": "web2", "url": "http://10.0.0.2"}),
        ("PUT", "/backends/web2", {"url": "http://10.0.0.3"}),
        ("PATCH", "/backends/web2", {"weight": 2}),
        ("POST", "/backends/web2/maintenance", None),
        ("POST", "/backends/web2/ready", None),
        ("POST", "/backends/web2/drain", None),
        ("PUT", "/backends", [WEB1]),
    ]
    for method, path, body in changes:
        answer = await api(method, path, json=body)
        assert (answer.status // 100, answer.json["persisted"]) == (2, has_file), path
    await api("DELETE", "/backends/web1?force=1")
    assert saves.count == len(changes) + 1


async def test_a_change_that_cannot_be_written_down_holds_in_memory(
    api: Api, saves: Saves, control: Control
) -> None:
    saves.error = OSError(errno.ENOSPC, "No space left on device", "state.json")
    answer = await api("POST", "/backends", json=WEB1)
    assert (answer.status, answer.json["type"]) == (500, "/problems/not-persisted")
    assert "holds in memory" in answer.json["detail"]
    assert "No space left" in answer.json["detail"]
    assert "web1" in control.registry.backends
    saves.error = None
    assert (await api("POST", "/backends", json=WEB1)).json["persisted"] is True


async def test_a_save_that_hangs_is_given_up(
    api: Api, control: Control, autojump_clock: trio.testing.MockClock
) -> None:
    control.save = trio.sleep_forever
    answer = await api("POST", "/backends", json=WEB1)
    assert (answer.status, "took too long" in answer.json["detail"]) == (500, True)
