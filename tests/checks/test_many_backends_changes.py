"""Ten thousand backends in one pool: no change holds the event loop for long, while requests come beside it.

The longest step of a task is measured in CPU time, as on a machine of usual speed, and is the best of a few.
The garbage collector is off meanwhile: what it does is not what an act costs.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from lb.core.backend import Backend
from lb.core.drain import Then
from lb.core.health.probe_verdict import Check
from lb.settings.pool_settings import POLICIES
from lb.slices import made, sliced
from tests.checks.test_many_backends import (
    ALL,
    HALF,
    HELD_SECONDS,
    MANY,
    OTHERS,
    Act,
    House,
    Members,
    house,
    longest,
    put,
)
from tests.core.scene import Request

Acts = Callable[[House], Sequence[Act]]

HEAVY = [{**each, "weight": 3} for each in ALL]
PROBE = {"interval": 3600, "fall": 1, "rise": 1}


def patch(house: House, **settings: object) -> Act:
    return partial(house.asks, "PATCH", "/pools/default", settings)


def post(house: House, path: str) -> Act:
    return partial(house.asks, "POST", path)


def each(house: House, act: Callable[[Backend], object], part: slice) -> Act:
    """This is done to a part of the backends, one after another, as when so much happens at one time."""

    def acts() -> Iterator[None]:
        for backend in [*house.registry.pool("default").backends][part]:
            act(backend)
            yield

    async def act_on_each() -> None:
        await sliced(made(acts()))
        await trio.sleep(0.5)

    return act_on_each


def probed(house: House, part: slice, *, ok: bool) -> Act:
    check = Check(ok, "probed", 0.001, 0.0)
    return each(house, lambda backend: house.registry.checked(backend, check), part)


def probes(house: House) -> Act:
    return patch(house, panic=0.5, probe=PROBE)


def drained(house: House, part: slice) -> Act:
    """All of them are busy until the drains expire, at one time."""

    async def drain_and_wait() -> None:
        ends = trio.current_time() + 3

        def drain(backend: Backend) -> None:
            backend.running.add(Request())
            house.registry.drain(backend, ends - trio.current_time(), Then.MAINTENANCE)

        await each(house, drain, part)()
        await trio.sleep_until(ends + 0.5)

    return drain_and_wait


def come_back_slowly(house: House) -> Act:
    """All are new to the traffic at one time, and warm up together."""

    def begin(backend: Backend) -> None:
        backend.begin_ramp(house.registry.now())

    async def warm_up() -> None:
        await each(house, begin, slice(None))()
        await house.asks("PATCH", "/pools/default", {"queue": 6})
        await trio.sleep(2)

    return warm_up


def come_back(house: House) -> Act:
    """Those that were drained are ready."""

    def ready(backend: Backend) -> None:
        backend.running.clear()
        house.registry.ready(backend)

    return each(house, ready, slice(0, MANY // 2))


def ejected(house: House) -> Act:
    """Half of them fail, each as often as it takes."""

    def fail(backend: Backend) -> None:
        house.registry.pool("default").failed(backend, "status 500", 0.1, house.registry.now())

    return each(house, fail, MOST)


def reloaded(house: House, members: Members) -> Act:
    """The file has other backends; those that leave have left when a second is over."""

    async def reload() -> None:
        await house.writes(members)
        await house.asks("POST", "/config/reload", None, **{"User-Agent": "curl/8"})
        await trio.sleep(1)

    return reload


def validated(house: House, members: Members) -> Act:
    async def validate() -> None:
        await house.writes(members)
        await house.asks("POST", "/config/validate")

    return validate


async def requests(house: House) -> None:
    """One after each millisecond."""
    while True:
        house.chooses()
        await trio.sleep(0.001)


def beside_requests(house: House, act: Act) -> Act:
    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(requests, house)
            await act()
            nursery.cancel_scope.cancel()

    return both


MOST, SOME = slice(0, MANY // 2 + 1), slice(0, 100)
CHANGES: dict[str, Acts] = {
    "a reload that would be": lambda house: [validated(house, OTHERS)],
    "a reload that changes nothing": lambda house: [reloaded(house, ALL)],
    "a reload to others": lambda house: [reloaded(house, OTHERS), reloaded(house, ALL)],
    "others, a reload that keeps them, and these again": lambda house: [
        put(house, OTHERS),
        reloaded(house, ALL),
        put(house, ALL),
    ],
    "others, and these again": lambda house: [put(house, OTHERS), put(house, ALL)],
    "half leaves, and comes back": lambda house: [put(house, HALF), put(house, ALL)],
    "all weights": lambda house: [put(house, HEAVY), put(house, ALL)],
    "a set that would leave too few": lambda house: [put(house, HALF, "?keep_available=9000")],
    "one drains": lambda house: [post(house, "/backends/b1/drain?keep_available=9")],
    "one is ready": lambda house: [post(house, "/backends/b1/ready")],
    "another queue": lambda house: [patch(house, queue=n) for n in (4, 5)],
    "policies": lambda house: [patch(house, policy=name) for name in POLICIES],
    "cookies": lambda house: [patch(house, sticky={"cookie": "at"}), patch(house, sticky=None)],
    "another ejection": lambda house: [patch(house, ejection={"consecutive": n}) for n in (7, 8)],
    "half is ejected, and that is too many": lambda house: [
        patch(house, panic=0, ejection={"consecutive": 1, "share": 1}),
        ejected(house),
        patch(house, ejection={"consecutive": 1, "share": 0.1}),
        each(house, house.registry.ready, MOST),
    ],
    "all start slowly": lambda house: [patch(house, slow_start=2), come_back_slowly(house)],
    "a panic, and its end": lambda house: [
        probes(house),
        probed(house, MOST, ok=False),
        probed(house, SOME, ok=True),
    ],
    "all come up": lambda house: [probes(house), probed(house, MOST, ok=False), probed(house, MOST, ok=True)],
    "no probes, and probes": lambda house: [patch(house, probe=None), patch(house, probe=PROBE)],
    "half drains until one moment": lambda house: [drained(house, slice(0, MANY // 2)), come_back(house)],
}


@pytest.mark.alone
@pytest.mark.parametrize("change", CHANGES)
async def test_no_change_holds_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    with capture_logs():
        async with house(tmp_path, monkeypatch) as made:
            held, task = await longest(*(beside_requests(made, act) for act in CHANGES[change](made)))
    assert held < HELD_SECONDS, task
