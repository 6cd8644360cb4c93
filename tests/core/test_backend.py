"""What follows from a spec, a wish and what runs: does a backend take requests, and what share of them?"""

import pytest

from lb.core.backend import FULL_SHARE, AdminState, Backend
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import Probe
from tests.core.scene import Request, Scene, check, spec


@pytest.mark.parametrize(
    ("state", "weight", "cap", "running", "why_not", "worth_waiting", "word"),
    [
        (AdminState.READY, 1, None, 0, None, False, "ready"),
        (AdminState.READY, 1, None, 99, None, False, "ready"),
        (AdminState.READY, 1, 2, 1, None, False, "ready"),
        (AdminState.READY, 1, 2, 2, "full 2/2", True, "ready"),
        (AdminState.READY, 1, 2, 3, "full 3/2", True, "ready"),  # the cap was lowered
        (AdminState.READY, 0, None, 0, "weight 0", False, "ready"),
        (AdminState.READY, 0, 1, 1, "weight 0", False, "ready"),
        (AdminState.DRAINING, 1, 2, 2, "draining", False, "draining"),
        (AdminState.DRAINING, 1, None, 0, "draining", False, "drained"),
        (AdminState.MAINTENANCE, 1, 1, 1, "maintenance", False, "maintenance"),
        (AdminState.MAINTENANCE, 1, None, 0, "maintenance", False, "maintenance"),
    ],
)
def test_which_backends_take_requests(
    state: AdminState,
    weight: int,
    cap: int | None,
    running: int,
    why_not: str | None,
    worth_waiting: bool,
    word: str,
) -> None:
    backend = Backend(spec("a", weight, cap), "default", "test", 0.0)
    backend.admin_state = state
    backend.running = {Request() for _ in range(running)}
    assert backend.why_not() == why_not
    assert backend.is_worth_waiting_for is worth_waiting
    assert backend.state == word
    assert backend.in_flight == running


def test_other_settings_leave_what_runs_alone() -> None:
    backend = Backend(spec("a"), "default", "test", 0.0)
    backend.running.add(Request())
    backend.respec(BackendSpec(id="a", url="http://b.test:81", weight=4, max_in_flight=1))
    assert (backend.id, backend.host, backend.port) == ("a", "b.test", 81)
    assert (backend.in_flight, backend.is_full) == (1, True)


def test_the_share_of_one_that_comes_back_grows_to_all_of_it() -> None:
    scene = Scene(spec("a"), spec("b", weight=2), slow_start=100.0, probe=Probe(fall=1, rise=1))
    full = 2 * FULL_SHARE
    for name in "ab":
        scene[name].ramp(scene.clock.now + 1000)
    check(scene, "b", ok=False)
    check(scene, "b", ok=True)
    assert (scene["b"].state, scene["b"].share) == ("warming", full // 10)
    shares = []
    while (then := scene.registry.expire(scene.clock.now)) is not None:
        scene.clock.now = then
        scene.registry.expire(then)
        shares.append(scene["b"].share)
    assert shares == sorted(shares)
    assert (shares[-1], scene["b"].state) == (full, "ready")
    assert len(shares) == 50


def test_without_slow_start_it_is_there_at_once() -> None:
    scene = Scene(spec("a"))
    scene.registry.maintenance(scene["a"])
    scene.registry.ready(scene["a"])
    assert (scene["a"].share, scene["a"].state) == (FULL_SHARE, "ready")
