"""What a worker answers about its exchanges, and what it tells of failures."""

from typing import Any

import msgspec
import pytest
import structlog
import trio

from lb.core.exchange_record import ExchangeRecord
from lb.core.passed_over import PassedOver
from lb.core.running_exchange import NothingRuns
from lb.observe.all_exchanges import OwnExchanges
from lb.observe.recorder import Recorder
from lb.workers.answering import FAILURES_A_SECOND, Answering
from lb.workers.messages import Answer, Ask, Failed
from tests.core.scene import registry


class Desk:
    """A worker's answering, and what it has told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.recorder = Recorder()
        exchanges = OwnExchanges(self.recorder, NothingRuns, registry(trio.current_time))
        self.answering = Answering(exchanges, self.told.append)
        self.recorder.when_failed(self.answering.failed)

    def fails(self, times: int) -> list[int]:
        """The counts of untold ones in what is told of so many failures."""
        self.told.clear()
        for _ in range(times):
            made = ExchangeRecord(b"1", "127.0.0.1:80", "192.0.2.1:5", trio.current_time())
            made.status = 502
            self.recorder.finished(made)
        assert all(isinstance(each, Failed) for each in self.told)
        return [each.untold for each in self.told]


async def test_a_few_failures_a_second_are_told_and_the_rest_is_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = Desk()
    assert desk.fails(1000) == [0] * FAILURES_A_SECOND
    await trio.sleep(0.99)
    assert desk.fails(1) == []
    await trio.sleep(0.01)
    assert desk.fails(2) == [1001 - FAILURES_A_SECOND, 0]


async def test_a_question_is_answered_under_its_number() -> None:
    desk = Desk()
    await desk.answering.answer(Ask(7, "find", b"1"))
    assert [type(each) for each in desk.told] == [Answer]
    assert desk.told[0].number == 7


@pytest.mark.parametrize("ask", [Ask(7, "newest", b"no msgpack"), Ask(7, "weather")])
async def test_a_bug_in_an_answer_is_logged_and_ends_nothing(ask: Ask) -> None:
    desk = Desk()
    with structlog.testing.capture_logs() as logged:
        await desk.answering.answer(ask)
    assert desk.told == [Answer(7, b"")]
    assert [(each["event"], each["what"]) for each in logged] == [
        ("bug in an answer to the keeper", ask.what)
    ]


async def test_a_failure_is_told_with_few_names_however_many_were_passed_over() -> None:
    desk = Desk()
    made = ExchangeRecord(b"1", "127.0.0.1:80", "192.0.2.1:5", trio.current_time())
    made.status, made.passed_over = 503, PassedOver(tuple((f"b{number}", "down") for number in range(5000)))
    desk.recorder.finished(made)
    assert len(desk.told[0].exchange) < 1000
    assert len(msgspec.msgpack.decode(desk.told[0].exchange)[0]) == 1
