"""Whole exchanges with both sides in memory: an exchange needs no socket and no protocol.

The dialogues over real sockets are in `test_exchange`, `test_hedge` and `test_retries`. Here each kind of
exchange runs once, and then once for each of its steps, with a client that leaves at that step.
"""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from lb.errors import (
    AttemptCut,
    BackendStalled,
    ClientGone,
    ClientStalled,
    ConnectionTerminated,
    RequestTimeout,
    RequestUnfinished,
    ResponseIncomplete,
    ResponseStalled,
    ResponseTimeout,
)
from tests.kit import lasting, virtual_time
from tests.kit.memory import Asked, MemoryScene, exchanging

pytestmark = virtual_time

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
PUT = POST.replace(b"POST", b"PUT")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_get() -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        backend = await scene.serving(asked)
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert (asked.client.statuses, asked.client.heard, asked.client.heard_all) == ([200], b"ok", True)
        assert backend.is_kept is True


async def test_an_idle_connection_is_used_again() -> None:
    async with exchanging() as scene:
        first = scene.asks(GET)
        backend = await scene.serving(first)
        backend.answers(OK, b"ok")
        await first.outcome()
        second = scene.asks(GET)
        await settle()
        backend.answers(OK, b"ok")
        assert await second.outcome() is None
        assert [attempt.reused for attempt in second.record.attempts] == [True]
        assert len(scene.connections.opened) == 1


async def test_interim_heads_go_ahead() -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        backend = await scene.serving(asked)
        backend.answers(EARLY_HINTS)
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert asked.client.statuses == [103, 200]


async def test_upload_that_comes_in_pieces() -> None:
    async with exchanging() as scene:
        asked = scene.asks(POST, b"he", ends=False)
        backend = await scene.serving(asked)
        await settle()
        assert backend.heard == b"he"
        asked.client.says(b"re", ends=True)
        await settle()
        assert (backend.heard, backend.heard_all) == (b"here", True)
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert (asked.record.request_bytes, asked.record.response_bytes) == (4, 2)


async def test_both_ways_at_once() -> None:
    async with exchanging() as scene:
        asked = scene.asks(POST, b"he", ends=False)
        backend = await scene.serving(asked)
        backend.answers(OK, b"o", ends=False)
        await settle()
        assert (asked.client.statuses, asked.client.heard) == ([200], b"o")
        asked.client.says(b"re", ends=True)
        await settle()
        assert backend.heard == b"here"
        backend.says(b"k", ends=True)
        assert await asked.outcome() is None
        assert asked.client.heard == b"ok"


async def test_early_answer_ends_the_upload() -> None:
    async with exchanging() as scene:
        asked = scene.asks(POST, b"he", ends=False)
        backend = await scene.serving(asked)
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert backend.is_kept is False


async def test_refused_connection_is_tried_elsewhere() -> None:
    async with exchanging(backends=2) as scene:
        scene.connections.refusing.add("b0")
        asked = scene.asks(POST, b"here")
        backend = await scene.serving(asked)
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert [attempt.backend.id for attempt in asked.record.attempts] == ["b0", "b1"]


async def test_kept_body_goes_again() -> None:
    async with exchanging(backends=2) as scene:
        asked = scene.asks(PUT, b"he", ends=False)
        first = await scene.serving(asked)
        await settle()
        asked.client.says(b"re", ends=True)
        await settle()
        first.breaks_off(ConnectionTerminated("it closed"))
        second = await scene.serving(asked)
        await settle()
        assert second.heard == b"here"
        second.answers(OK, b"ok")
        assert await asked.outcome() is None


async def test_hedge() -> None:
    hedge = {"after": 0.5, "at_least": "10ms"}
    async with exchanging(backends=2, hedge=hedge) as scene:
        for _ in range(60):  # enough answers to know how long they usually take
            asked = scene.asks(GET)
            await settle()
            connection = max(
                scene.connections.opened, key=lambda each: len(each.requests) * (each.is_kept is None)
            )
            connection.answers(OK, b"ok")
            await asked.outcome()
        asked = scene.asks(GET)
        await trio.sleep(1)
        lent = {c.backend: c for c in scene.connections.opened if c.is_kept is None}
        slow, quick = (lent[attempt.backend] for attempt in asked.record.attempts)
        quick.answers(OK, b"ok")
        assert await asked.outcome() is None
        assert [attempt.is_beaten for attempt in asked.record.attempts] == [True, False]
        assert (slow.is_kept, quick.is_kept) == (False, True)


async def test_cut() -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        await scene.serving(asked)
        await settle()
        asked.exchange.cut("it had to")
        assert isinstance(await asked.outcome(), AttemptCut)


# -- each direction has a deadline of its own, and its own word --------------------------------------------


async def test_response_that_does_not_begin() -> None:
    async with exchanging(retry={"attempts": 0}) as scene:
        asked = scene.asks(GET)
        await scene.serving(asked)
        with lasting(60.0):
            assert isinstance(await asked.outcome(), ResponseTimeout)


async def test_response_that_does_not_go_on() -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        (await scene.serving(asked)).answers(OK, b"o", ends=False)
        with lasting(60.0):
            assert isinstance(await asked.outcome(), ResponseStalled)


async def test_client_that_does_not_take() -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        asked.client.stalls()
        (await scene.serving(asked)).answers(OK, b"ok")
        with lasting(60.0):
            assert isinstance(await asked.outcome(), ClientStalled)


async def test_client_that_does_not_go_on() -> None:
    async with exchanging() as scene:
        asked = scene.asks(POST, b"h", ends=False)
        await scene.serving(asked)
        with lasting(30.0):
            assert isinstance(await asked.outcome(), RequestTimeout)


async def test_backend_that_does_not_take() -> None:
    async with exchanging(retry={"attempts": 0}) as scene:
        asked = scene.asks(POST, b"h", ends=False)
        (await scene.serving(asked)).stalls()
        await settle()
        asked.client.says(b"ere", ends=True)
        with lasting(60.0):
            assert isinstance(await asked.outcome(), BackendStalled)


async def test_upload_that_stalls_is_noticed_while_the_response_moves() -> None:
    async with exchanging() as scene:
        asked = scene.asks(POST, b"h", ends=False)
        backend = await scene.serving(asked)
        backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"o", ends=False)
        with lasting(30.0):
            async with trio.open_nursery() as nursery:

                async def go_on() -> None:
                    while True:
                        await trio.sleep(1)
                        backend.says(b"o")

                nursery.start_soon(go_on)
                assert isinstance(await asked.outcome(), RequestTimeout)
                nursery.cancel_scope.cancel()


async def test_response_that_stalls_is_noticed_while_the_upload_moves() -> None:
    async with exchanging() as scene:
        asked = scene.asks(POST.replace(b"4", b"1000"), b"h", ends=False)
        backend = await scene.serving(asked)
        backend.answers(OK, b"o", ends=False)
        with lasting(60.0):
            async with trio.open_nursery() as nursery:

                async def go_on() -> None:
                    while True:
                        await trio.sleep(1)
                        asked.client.says(b"h" * 300)

                nursery.start_soon(go_on)
                assert isinstance(await asked.outcome(), ResponseStalled)
                nursery.cancel_scope.cancel()


# -- whose fault (the numbers are those of the faults that were reported) ----------------------------------


async def test_f1_1_a_backend_that_tires_of_an_unfinished_request_is_not_blamed() -> None:
    async with exchanging(backends=4) as scene:
        for _ in range(12):
            asked = scene.asks(POST, b"h", ends=False)
            backend = await scene.serving(asked)
            await trio.sleep(1.5)
            backend.breaks_off(ConnectionTerminated("it gave up"))
            error = await asked.outcome()
            assert isinstance(error, RequestUnfinished)
            assert error.status == 408
        assert scene.ejected == []


async def test_f1_2_a_backend_that_tires_of_a_client_that_does_not_read_is_not_blamed() -> None:
    async with exchanging(backends=4, buffer={"request": 0, "response": 0}) as scene:
        for _ in range(12):
            asked = scene.asks(GET)
            asked.client.stalls()
            backend = await scene.serving(asked)
            backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"o", ends=False)
            await trio.sleep(5)
            backend.breaks_off(ResponseIncomplete("it gave up"))
            asked.client.reads_on()
            assert isinstance(await asked.outcome(), ClientStalled)
        assert scene.ejected == []


async def test_f1_3_the_end_of_an_upload_does_not_turn_a_stall_of_the_client_into_the_backends() -> None:
    async with exchanging(backends=4) as scene:
        for _ in range(12):
            asked = scene.asks(POST, b"her", ends=False)
            asked.client.stalls()
            (await scene.serving(asked)).answers(OK, b"ok")
            await trio.sleep(5)
            asked.client.says(b"e", ends=True)
            with lasting(55.0):
                assert isinstance(await asked.outcome(), ClientStalled)
        assert scene.ejected == []


async def test_f1_4_a_response_that_has_begun_has_its_own_deadline() -> None:
    async with exchanging() as scene:
        scene.context.configure(
            __import__("lb").build(
                {"timeouts": {"response_head": 1, "response_idle": 30}, "pools": {"default": {}}}
            )
        )
        asked = scene.asks(POST, b"her", ends=False)
        backend = await scene.serving(asked)
        backend.answers(OK, b"o", ends=False)
        await settle()
        asked.client.says(b"e", ends=True)
        await trio.sleep(3)
        backend.says(b"k", ends=True)
        assert await asked.outcome() is None


async def test_f1_7_a_backend_that_cannot_go_on_because_the_client_does_not_read_is_not_blamed() -> None:
    """A backend that takes no more of the request while its response waits for the client."""
    async with exchanging(backends=4) as scene:
        for _ in range(12):
            asked = scene.asks(POST, b"h", ends=False)
            backend = await scene.serving(asked)
            asked.client.stalls()
            backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"o", ends=False)
            await settle()
            backend.stalls()
            asked.client.says(b"er")
            await asked.outcome()
        assert scene.ejected == []


async def test_f1_8_an_interim_head_that_the_client_does_not_take() -> None:
    """The end of the upload does not turn that wait into one for the backend."""
    async with exchanging(backends=4) as scene:
        for _ in range(12):
            asked = scene.asks(POST, b"h", ends=False)
            backend = await scene.serving(asked)
            asked.client.stalls()
            backend.answers(EARLY_HINTS)
            backend.answers(OK, b"ok")
            await settle()
            asked.client.says(b"ere", ends=True)
            with lasting(60.0):
                assert isinstance(await asked.outcome(), ClientStalled)
        assert scene.ejected == []


async def test_an_interim_head_that_was_taken_leaves_no_deadline_of_the_client() -> None:
    async with exchanging() as scene:
        asked = scene.asks(POST.replace(b"4", b"40000"), b"h", ends=False)
        backend = await scene.serving(asked)
        asked.client.stalls()
        backend.answers(EARLY_HINTS)
        await trio.sleep(0.5)
        asked.client.reads_on()
        for _ in range(12):
            await trio.sleep(10)
            asked.client.says(bytes(3000))
        asked.client.says(b"e", ends=True)
        await settle()
        backend.answers(OK, b"ok")
        assert await asked.outcome() is None


async def test_a_backend_that_breaks_off_long_after_the_client_was_slow_is_blamed() -> None:
    async with exchanging(backends=4) as scene:
        asked = scene.asks(GET)
        asked.client.stalls()
        backend = await scene.serving(asked)
        backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"o", ends=False)
        await trio.sleep(1.5)
        asked.client.reads_on()
        for _ in range(100):
            await trio.sleep(1)
            backend.says(b"o")
        backend.breaks_off(ResponseIncomplete("it broke off"))
        assert isinstance(await asked.outcome(), ResponseIncomplete)
        assert backend.backend.outcomes._streak == 1


async def test_a_worker_that_dies_long_after_a_request_came_is_blamed() -> None:
    async with exchanging() as scene:
        asked = scene.asks(GET)
        backend = await scene.serving(asked)
        backend.answers(OK, b"ok")
        await asked.outcome()
        asked = scene.asks(POST, b"here")
        await settle()
        await trio.sleep(29)
        backend.breaks_off(ConnectionTerminated("it was killed"))
        assert isinstance(await asked.outcome(), ConnectionTerminated)
        assert backend.backend.outcomes._streak == 1


@pytest.mark.pure
async def test_a_slow_upload_does_not_make_its_backend_slow() -> None:
    async with exchanging(policy="ewma") as scene:
        told: list[float] = []
        scene.pool.policy.ended = lambda _backend, seconds: told.append(seconds)  # type: ignore[attr-defined]
        scene.pool.configure(scene.pool.settings, scene.pool.policy)
        asked = scene.asks(POST, b"h", ends=False)
        backend = await scene.serving(asked)
        await trio.sleep(20)
        asked.client.says(b"ere", ends=True)
        await trio.sleep(0.5)
        backend.answers(OK, b"ok")
        await asked.outcome()
        assert told == [pytest.approx(0.5)]


# -- a client that leaves, at each step ------------------------------------------------------------------

Story = Callable[[MemoryScene, Asked], Awaitable[None]]


async def answered(scene: MemoryScene, asked: Asked) -> None:
    backend = await scene.serving(asked)
    backend.answers(EARLY_HINTS)
    await settle()
    backend.answers(OK, b"o", ends=False)
    await settle()
    backend.says(b"k", ends=True)


async def uploaded(scene: MemoryScene, asked: Asked) -> None:
    backend = await scene.serving(asked)
    await settle()
    asked.client.says(b"re", ends=True)
    await settle()
    backend.answers(OK, b"ok")


async def stalled(scene: MemoryScene, asked: Asked) -> None:
    asked.client.stalls()
    await answered(scene, asked)
    await settle()
    asked.client.reads_on()


@pytest.mark.parametrize(
    ("request_", "story"),
    [(GET, answered), (PUT, uploaded), (GET, stalled)],
    ids=["answered", "uploaded", "stalled"],
)
async def test_a_client_that_leaves_at_any_step_leaves_nothing_behind(request_: bytes, story: Story) -> None:
    """`exchanging` asserts that each place and each connection was given back."""
    left = 0
    for step in range(1, 100):
        async with exchanging() as scene, trio.open_nursery() as nursery:
            asked = scene.asks(request_, *([b"he"] if request_ is PUT else []), ends=request_ is GET)
            leaver = LeaveAtStep(step, asked)
            trio.lowlevel.add_instrument(leaver)
            nursery.start_soon(story, scene, asked)
            error = await asked.outcome()
            trio.lowlevel.remove_instrument(leaver)
            nursery.cancel_scope.cancel()
            assert scene.ejected == []
        if not leaver.has_left:
            assert error is None
            break
        left += isinstance(error, ClientGone)
    assert left >= 3


class LeaveAtStep(trio.abc.Instrument):
    """The client leaves before this step of the exchange's tasks."""

    def __init__(self, step: int, asked: Asked) -> None:
        self._left = step
        self._asked = asked
        self.has_left = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if "Asked.run" in task.name or "beside" in task.name:
            self._left -= 1
            if self._left == 0:
                self.has_left = True
                self._asked.client.leaves()
