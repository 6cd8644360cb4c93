"""When backends are probed, which results count, and that no probe leaves a socket behind."""

import errno
import re
import socket
from itertools import count

import msgspec
import pytest
import structlog
import trio
import trio.testing

from lb.core.health.probe_verdict import Check, Verdict
from lb.net.connect import NO_PORT_LEFT
from lb.probes.prober import ProbeRun
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import Probe
from tests.kit import OK, Backend, BlackHole, Refusing, Steps, until_not_reached, virtual_time
from tests.probes.house import CHUNKS, INTERIM, UNAVAILABLE, house, jump, probing, say_now

pytestmark = virtual_time


# -- times of probes -------------------------------------------------------------------------------------


async def test_the_first_probe_comes_within_an_interval_then_one_each_interval() -> None:
    async with probing(interval=10.0) as there, there.stand.answering(OK):
        await trio.sleep(36)
        assert there.times == [5.0, 15.0, 25.0, 35.0]
        assert all(check.ok for check in there.told)


async def test_probes_of_many_backends_are_not_in_step() -> None:
    chances = (number / 10 % 1 for number in count())
    async with probing(Backend, Backend, Backend, kind="tcp", chance=lambda: next(chances)) as there:
        await trio.sleep(1.8)
        first = dict(reversed([(name, check.at) for name, check in there.registry.told]))
        assert len(set(first.values())) == len(first) == 3


async def test_streaks_turn_the_verdict_and_are_probed_faster() -> None:
    async with probing(Refusing, kind="tcp") as there:
        await trio.sleep(3)
        assert there.times == [1.0, 1.5, 2.0]
        assert there.flips() == [("down", "one", 2.0)]
        assert there["one"].why_not() == "down: connection refused"
        there.stands[0]._listening.listen(10)
        await trio.sleep(4)
        assert there.times[3:] == [4.0, 4.5, 6.5]
        assert there.flips()[1:] == [("up", "one", 4.5)]
        assert there["one"].why_not() is None


async def test_a_streak_of_timeouts_is_as_long_as_they_are() -> None:
    async with probing(BlackHole, timeout=3.0, fall=2) as there:
        await trio.sleep(10)
        assert there.flips() == [("down", "one", 1.0 + 3.0 + 0.5 + 3.0)]


async def test_a_backend_without_a_verdict_is_probed_soon() -> None:
    async with probing(initial="probe") as there, there.stand.answering(OK):
        assert there["one"].why_not() == "checking: no probe has ended yet"
        await trio.sleep(0.3)
        assert there.flips() == [("up", "one", 0.25)]
        assert there["one"].why_not() is None


# -- which backends --------------------------------------------------------------------------------------


async def test_an_added_backend_is_probed_and_a_removed_one_is_not() -> None:
    async with probing(Refusing, kind="tcp") as there:
        await trio.sleep(0.5)
        with_it = there.add("two", there.stands[0])
        await trio.sleep(0.6)
        there.registry.remove(there["one"])
        await trio.sleep(1.1)
        assert [(name, round(check.at, 6)) for name, check in there.registry.told] == [
            ("one", 1.0),
            ("two", 1.5),
            ("two", 2.0),
        ]
        there.registry.remove(with_it)
        await trio.sleep(100)
        assert len(there.told) == 3


async def test_a_running_probe_is_cancelled_when_its_backend_is_removed() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        there.registry.remove(there["one"])
        await peer.hears_end()
        assert not there.told


async def test_the_same_id_anew_is_another_backend() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.remove(there["one"])
        there.add("one", there.stand)
        await trio.sleep(1.1)
        assert there.times == [1.0, 2.5]


async def test_in_maintenance_there_are_no_probes_and_ready_probes_at_once() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.maintenance(there["one"])
        await trio.sleep(100)
        assert there.times == [1.0]
        there.registry.ready(there["one"])
        await trio.sleep(2.1)
        assert there.times == [1.0, 101.5, 103.5]


async def test_a_draining_backend_is_probed_on() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.drain(there["one"], 60.0)
        await trio.sleep(2)
        there.registry.ready(there["one"])
        await trio.sleep(2)
        assert there.times == [1.0, 3.0, 5.0]


async def test_a_new_address_is_probed_at_once_and_the_old_one_is_not() -> None:
    async with probing(Backend) as there:
        peer = await there.stand.hears()
        other = Backend()
        say_now(peer, UNAVAILABLE)
        there.registry.change(there["one"], BackendSpec(id="one", url=other.url))
        async with other.answering(OK):
            await trio.testing.wait_all_tasks_blocked()
            assert [check.why for check in there.told] == ["ok 200"]
            assert there.times == [1.0]
        other.close()


async def test_a_new_weight_does_not_disturb_the_probes() -> None:
    async with probing(kind="tcp") as there:
        await trio.sleep(1.5)
        there.registry.change(there["one"], BackendSpec(id="one", url=there.stand.url, weight=7))
        await trio.sleep(2)
        assert there.times == [1.0, 3.0]


async def test_changed_settings_apply_from_the_next_probe_on() -> None:
    async with probing(interval=1000.0) as there, there.stand.answering(OK) as heard:
        await trio.sleep(501)
        there.configure(path="/new", interval=4.0)
        await trio.sleep(7)
        assert there.times == [500.0, 503.0, 507.0]
        assert [request.target for request in heard] == ["/", "/new", "/new"]


async def test_other_settings_of_the_pool_do_not_disturb_a_probe() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        there.registry.configure(there.pool, msgspec.structs.replace(there.pool.settings, queue=5))
        await trio.testing.wait_all_tasks_blocked()
        await peer.says(OK)
        await peer.hears_end()
        assert len(there.told) == 1


async def test_a_pool_can_lose_its_probe_and_get_another() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        there.set_probe(None)
        await peer.hears_end()
        await trio.sleep(100)
        assert not there.told
        there.set_probe(Probe(kind="tcp"))
        await trio.sleep(3.1)
        assert there.times == [102.0, 104.0]


async def test_an_answer_that_comes_as_the_settings_change_is_not_judged() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        say_now(peer, UNAVAILABLE)
        there.configure(status=("503",))
        await trio.testing.wait_all_tasks_blocked()
        assert not there.told


# -- results that do not count ---------------------------------------------------------------------------


async def test_a_probe_that_failed_while_the_process_was_stopped_is_repeated() -> None:
    async with probing(BlackHole, fall=1) as there:
        await trio.sleep(1.5)
        jump(60)
        await trio.sleep(1.5)
        assert not there.told
        await trio.sleep(1)
        assert there.told == [Check(False, "no connection in 2 s", 2.0, 63.5)]
        assert there.flips() == [("down", "one", 63.5)]


async def test_a_probe_that_was_stopped_and_ended_within_its_timeout_is_repeated() -> None:
    async with probing(BlackHole) as there:
        await trio.sleep(2)
        jump(0.5)
        await trio.sleep(2.4)
        assert not there.told
        await trio.sleep(0.2)
        assert there.times == [5.0]


async def test_a_connection_that_ended_while_the_process_was_stopped_does_not_count() -> None:
    async with probing(fall=1) as there:
        peer = await there.stand.hears()
        jump(60)
        peer.closes()
        async with there.stand.answering(OK):
            await trio.testing.wait_all_tasks_blocked()
        assert [check.why for check in there.told] == ["ok 200"]
        assert not there.flips()


async def test_a_response_that_came_while_the_process_was_stopped_counts() -> None:
    async with probing() as there:
        peer = await there.stand.hears()
        say_now(peer, OK)
        jump(60)
        await trio.testing.wait_all_tasks_blocked()
        assert there.told == [Check(True, "ok 200", 60.0, 61.0)]


async def test_a_short_delay_of_the_loop_is_no_excuse() -> None:
    async with probing(BlackHole) as there:
        await trio.sleep(2)
        jump(0.2)
        await trio.sleep(1)
        assert there.times == [3.0]


async def test_probes_that_overslept_together_are_spread_again() -> None:
    async with probing(Backend, Backend, kind="tcp") as there:
        await trio.sleep(1.5)
        jump(60)
        await trio.sleep(0.9)
        assert there.times == [1.0, 1.0]
        await trio.sleep(0.2)
        assert there.times == [1.0, 1.0, 62.5, 62.5]


async def test_after_a_stop_no_backend_is_down() -> None:
    chances = (number * 0.37 % 1 for number in count())
    async with probing(*[Backend] * 4, fall=1, chance=lambda: next(chances)) as there:
        async with trio.open_nursery() as nursery:
            for stand in there.stands:
                assert isinstance(stand, Backend)
                nursery.start_soon(serve_slowly, stand)
            for _ in range(20):
                await trio.sleep(3.3)
                jump(60)
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        assert len(there.told) > 50
        assert not there.flips()


async def serve_slowly(stand: Backend) -> None:
    """Answer each request after a second, half of the timeout."""
    while True:
        peer = await stand.hears()
        await trio.sleep(1.0)
        try:
            await peer.says(OK)
        except OSError:
            peer.closes()


async def test_with_a_loop_that_is_always_late_a_refusal_counts() -> None:
    async def be_late() -> None:
        while True:
            await trio.sleep(0.05)
            jump(0.4)

    async with probing(BlackHole, Refusing) as there, trio.open_nursery() as nursery:
        nursery.start_soon(be_late)
        await trio.sleep(60)
        assert there.flips()[0][:2] == ("down", "two")
        assert not [name for name, _ in there.registry.told if name == "one"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.EMFILE, "this balancer is out of file descriptors"),
        (NO_PORT_LEFT, "no local port is left to connect from"),
    ],
)
async def test_without_descriptors_or_ports_a_probe_does_not_count(
    monkeypatch: pytest.MonkeyPatch, code: int, why: str
) -> None:
    def refuse(family: int, kind: int) -> socket.socket:
        raise OSError(code, "-")

    with structlog.testing.capture_logs() as logged:
        async with probing(fall=1) as there, there.stand.answering(OK):
            with monkeypatch.context() as patch:
                patch.setattr("lb.net.connect.socket.socket", refuse)
                check = await there.check()
                await trio.sleep(10)
            await trio.sleep(2)
            assert check[:2] == (False, why)
            assert [check.why for check in there.told] == ["ok 200"]
    said = [(line["event"], line["log_level"]) for line in logged if line["log_level"] != "debug"]
    assert said == [("probes do not count", "warning")]


async def test_a_bug_in_one_probe_ends_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ProbeRun.run

    async def stumble(self: ProbeRun) -> str:
        if f":{self._target.port}" in there.stands[0].url:
            raise ZeroDivisionError
        return await run(self)

    monkeypatch.setattr(ProbeRun, "run", stumble)
    with structlog.testing.capture_logs() as logged:
        async with probing(Backend, Backend, kind="tcp") as there:
            await trio.sleep(4)
            monkeypatch.setattr(ProbeRun, "run", run)
            await trio.sleep(2)
    said = [(line["event"], line["backend"]) for line in logged if line["log_level"] != "debug"]
    assert said == [("bug in a probe", "one")] * 2
    assert [name for name, _ in there.registry.told].count("two") == 3
    assert [name for name, _ in there.registry.told].count("one") == 1


# -- on request ------------------------------------------------------------------------------------------


async def test_a_check_on_request_is_judged_as_any_other() -> None:
    async with house(Refusing, fall=1) as there:
        check = await there.check()
        assert there.told == [check]
        assert there["one"].health is not None
        assert there["one"].health.verdict is Verdict.DOWN


async def test_a_check_on_request_goes_to_maintenance_too() -> None:
    async with house(kind="tcp") as there:
        there.registry.maintenance(there["one"])
        assert (await there.check()).ok


async def test_a_pool_without_a_probe_has_no_check() -> None:
    async with house() as there:
        there.set_probe(None)
        with pytest.raises(LookupError, match=re.escape("pool 'default' has no probe")):
            await there.check()


async def test_a_check_that_does_not_count_says_so() -> None:
    async with probing(BlackHole) as there, trio.open_nursery() as nursery:
        await trio.sleep(0.5)

        async def ask() -> None:
            check = await there.check()
            assert check.why == "no connection in 2 s (not counted: this balancer was late)"
            assert not there.told

        nursery.start_soon(ask)
        await trio.sleep(0.1)
        jump(60)


# -- nothing stays open ----------------------------------------------------------------------------------


async def test_cancelled_at_any_step_a_prober_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.kit.cancel.OWNER", "_keep_probing")
    body = CHUNKS + b"2\r\nab\r\n"

    async def run(at: int) -> Steps:
        async with house(body="abc") as there, trio.open_nursery() as nursery:
            steps = Steps(at, lambda: nursery.cancel_scope.cancel())
            trio.lowlevel.add_instrument(steps)
            nursery.start_soon(there.probes.run)
            peer = await there.stand.hears()
            await peer.says_bytewise(INTERIM + body + b"1\r\nc\r\n0\r\n\r\n", 20)
            await trio.sleep(0.5)
            assert there.told[0].ok
            nursery.cancel_scope.cancel()
        trio.lowlevel.remove_instrument(steps)
        return steps

    assert await until_not_reached(run) > 5
