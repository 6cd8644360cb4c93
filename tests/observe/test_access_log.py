"""The lines of the access log, and that a blocked pipe does not stop the traffic."""

import fcntl
import os
import re
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord, Noted
from lb.core.passed_over import NONE_PASSED_OVER, PassedOver
from lb.errors import Reason
from lb.observe import access_log
from lb.observe.access_log import (
    BATCH_RECORDS,
    FLUSH_SECONDS,
    QUEUE_RECORDS,
    RENDERED_AT_ONCE,
    AccessLog,
    Format,
    format_of,
    json_line,
    record,
    rfc3339,
    safe,
    text_line,
)
from lb.observe.log_lines import LINES, coloured_line, combined_line, short_line
from lb.settings.backend_spec import BackendSpec

EPOCH = 1_800_000_000.0


def wall(moment: float) -> float:
    return EPOCH + moment


def backend(name: str) -> Backend:
    return Backend(BackendSpec(id=name, url="http://127.0.0.1:1"), "default", "config", 0.0)


def exchange_of(number: int = 0, target: bytes = b"/") -> ExchangeRecord:
    exchange = ExchangeRecord(b"id%d" % number, "127.0.0.1:8080", "192.0.2.1:5000", 1.0)
    exchange.method, exchange.target = b"GET", target
    exchange.ended = 1.25
    return exchange


def retried() -> ExchangeRecord:
    """Refused by web1 after 10 ms, answered by web2."""
    exchange = exchange_of(7, b"/cart?x=1")
    exchange.pool, exchange.status, exchange.queued = "default", 200, 0.02
    exchange.request_bytes, exchange.response_bytes = 3, 4000
    refused, answered = (
        AttemptRecord(backend("web1"), PassedOver((("web3", "draining"),)), 1.02),
        AttemptRecord(backend("web2"), NONE_PASSED_OVER, 1.03),
    )
    refused.ended, refused.reason = 1.03, Reason.CONNECTION_REFUSED
    answered.connected, answered.first_byte, answered.ended = 1.031, 1.2, 1.25
    exchange.attempts += [refused, answered]
    return exchange


def test_a_json_line_has_everything() -> None:
    line = json_line(retried(), wall)
    assert msgspec.json.decode(line) == {
        "time": "2027-01-15T08:00:01.250Z",
        "id": "id7",
        "client": "192.0.2.1:5000",
        "peer": "192.0.2.1:5000",
        "listener": "127.0.0.1:8080",
        "method": "GET",
        "target": "/cart?x=1",
        "status": 200,
        "request_bytes": 3,
        "response_bytes": 4000,
        "pool": "default",
        "backend": "web2",
        "attempts": 2,
        "queue_ms": 20.0,
        "connect_ms": 1.0,
        "first_byte_ms": 169.0,
        "total_ms": 250.0,
        "reason": None,
        "detail": "",
        "each_attempt": [
            {
                "backend": "web1",
                "reused": False,
                "reason": "connection_refused",
                "connect_ms": None,
                "first_byte_ms": None,
                "passed_over": {"web3": "draining"},
                "passed_over_count": 1,
            },
            {
                "backend": "web2",
                "reused": False,
                "reason": None,
                "connect_ms": 1.0,
                "first_byte_ms": 169.0,
                "passed_over": {},
                "passed_over_count": 0,
            },
        ],
    }


def test_a_reused_connection_has_no_connect_time() -> None:
    exchange = exchange_of()
    again = AttemptRecord(backend("web1"), NONE_PASSED_OVER, 1.0)
    again.reused, again.first_byte = True, 1.1
    exchange.attempts.append(again)
    found = record(exchange, wall)
    assert (found.connect_ms, found.first_byte_ms) == (None, 100.0)


def test_a_request_without_an_attempt_has_no_backend_and_no_phases() -> None:
    exchange = exchange_of()
    exchange.status, exchange.reason, exchange.detail = 400, Reason.HTTP_REQUEST_ERROR, "no Host"
    found = record(exchange, wall)
    assert (found.pool, found.backend, found.connect_ms, found.first_byte_ms) == (None, None, None, None)
    assert found.attempts == 0
    assert text_line(exchange, wall).endswith(b"id=id0 http_request_error: no Host\n")


def test_a_text_line_reads_from_left_to_right() -> None:
    assert text_line(retried(), wall) == (
        b"2027-01-15T08:00:01.250Z 192.0.2.1:5000        200 GET         250.0 ms       4000 B  web2"
        b"             /cart?x=1  (queue 20.0 connect 1.0 first byte 169.0, in 3 B) id=id7 attempts=2\n"
    )


def test_a_short_line_fits_a_terminal() -> None:
    assert short_line(exchange_of(), wall) == b"08:00:01.250Z   0 GET / - 250.0 ms\n"
    assert short_line(retried(), wall) == (
        b"08:00:01.250Z 200 GET /cart?x=1 web2 250.0 ms (2 attempts: web1 connection_refused)\n"
    )
    long = exchange_of(3, b"/" + b"a" * 500)
    long.status, long.reason = 503, Reason.DNS_ERROR
    assert short_line(long, wall).endswith(b"aaa... - 250.0 ms dns_error id3\n")
    assert len(short_line(long, wall)) < 100


@pytest.mark.parametrize(
    ("status", "shown"), [(200, b" 200 "), (404, b" \x1b[33m404\x1b[0m "), (502, b" \x1b[31m502\x1b[0m ")]
)
def test_a_status_has_a_colour_on_a_terminal(status: int, shown: bytes) -> None:
    exchange = exchange_of()
    exchange.status = status
    assert shown in coloured_line(exchange, wall)


def test_text_lines_stand_in_columns() -> None:
    lines = [text_line(exchange, wall) for exchange in (retried(), exchange_of(1, b"/cart"))]
    assert len({line.index(b"/cart") for line in lines}) == 1


@given(st.binary(max_size=600), st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=600))
def test_nothing_from_outside_breaks_a_line(
    target: bytes, method: bytes, request_id: bytes, detail: str
) -> None:
    exchange = ExchangeRecord(request_id, "127.0.0.1:8080", "192.0.2.1:5000", 1.0)
    exchange.target, exchange.method, exchange.detail, exchange.reason = (
        target,
        method,
        detail,
        Reason.DNS_ERROR,
    )
    exchange.noted = Noted("HTTP/1.1", {b"a": target, b"b": method, b"referer": target})
    for line in (write(exchange, wall, ("A", "b", "c")) for write in LINES.values()):
        assert line.endswith(b"\n")
        assert line[:-1].isascii()
        assert line[:-1].decode().isprintable()


@given(st.binary(max_size=600), st.binary(max_size=40), st.binary(max_size=600))
def test_no_value_ends_its_quotes(target: bytes, method: bytes, agent: bytes) -> None:
    exchange = exchange_of(1, target)
    exchange.method, exchange.noted = method or b"-", Noted("HTTP/1.1", {b"user-agent": agent, b"x": target})
    line = combined_line(exchange, wall, ("X",)).decode()
    assert re.fullmatch(r'[^"]*\] "[^"]*" \d{3} \d+ "-" "[^"]*" "[^"]*"\n', line)


@given(st.binary(max_size=128), st.binary(max_size=128))
def test_different_bytes_look_different(one: bytes, other: bytes) -> None:
    assert (safe(one) == safe(other)) is (one == other)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/a?b=c", "/a?b=c"),
        (b"/\x1b[2J\r\n", r"/\x1b[2J\x0d\x0a"),
        (rb"/\x0a", r"/\x5cx0a"),
        ("/ü".encode(), r"/\xc3\xbc"),
        (b"x" * 512, "x" * 512),
        (b"x" * 513, "x" * 509 + "..."),
    ],
)
def test_bytes_are_shown_safely(raw: bytes, shown: str) -> None:
    assert safe(raw) == shown


def test_times_are_utc_to_the_millisecond() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("setting", "is_terminal", "line_format"),
    [
        ("auto", True, "short"),
        ("auto", False, "json"),
        ("text", False, "text"),
        ("json", True, "json"),
        ("off", True, None),
    ],
)
def test_the_format_depends_on_the_setting_and_the_terminal(
    setting: str, is_terminal: bool, line_format: Format | None
) -> None:
    assert format_of(setting, is_terminal) == line_format


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Descriptors to read from and to write to; a test may close either."""
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            assert fd == reader


@asynccontextmanager
async def running(log: AccessLog) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        yield
        nursery.cancel_scope.cancel()


async def lines_from(reader: int, count: int) -> list[str]:
    """The targets of the next `count` lines."""
    received = b""
    while received.count(b"\n") < count:
        received += await trio.to_thread.run_sync(os.read, reader, 65536)
    return [msgspec.json.decode(line)["target"] for line in received.splitlines()]


async def test_lines_come_in_the_order_of_the_exchanges(pipe: tuple[int, int]) -> None:
    log = AccessLog("json", wall=wall, fd=pipe[1])
    async with running(log):
        for start in (0, 300):
            for number in range(start, start + 300):
                log.finished(exchange_of(target=b"/%d" % number))
            assert await lines_from(pipe[0], 300) == [f"/{n}" for n in range(start, start + 300)]
    assert log.dropped == 0


async def test_queued_lines_are_written_at_the_end(pipe: tuple[int, int]) -> None:
    log = AccessLog("json", wall=wall, fd=pipe[1])
    async with running(log):
        for number in range(100):
            log.finished(exchange_of(target=b"/%d" % number))
    assert await lines_from(pipe[0], 100) == [f"/{n}" for n in range(100)]
    assert log.dropped == 0


async def most_lines_in_a_turn(count: int) -> int:
    """How many lines are rendered between two turns of another task, at most, while so many are written."""
    turns = [0]

    def counting(moment: float) -> float:
        turns[-1] += 1
        return wall(moment)

    fd = os.open(os.devnull, os.O_WRONLY)
    log = AccessLog("json", wall=counting, fd=fd)
    async with running(log):
        for _ in range(count):
            log.finished(exchange_of())
        while log._waiting:
            turns.append(0)
            await trio.lowlevel.checkpoint()
    os.close(fd)
    assert sum(turns) == count
    return max(turns)


async def test_the_traffic_goes_on_between_a_few_lines() -> None:
    assert await most_lines_in_a_turn(BATCH_RECORDS) <= 2 * RENDERED_AT_ONCE


async def test_more_are_written_in_a_turn_as_the_queue_fills() -> None:
    assert await most_lines_in_a_turn(QUEUE_RECORDS) >= BATCH_RECORDS


async def test_a_reader_that_stops_costs_only_records(
    autojump_clock: trio.testing.MockClock, pipe: tuple[int, int]
) -> None:
    log = AccessLog("json", wall=wall, fd=pipe[1])
    async with running(log):
        # One batch more than the pipe takes (64 KiB), so the thread blocks in the middle of it.
        for _ in range(QUEUE_RECORDS):
            log.finished(exchange_of(target=b"/" + b"x" * 500))
        await trio.testing.wait_all_tasks_blocked()
        log.finished(exchange_of())
        assert log.dropped == 1
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(FLUSH_SECONDS)
    assert log.dropped == 1 + QUEUE_RECORDS
    os.close(pipe[0])
    async with log._one_at_a_time:  # the abandoned thread has got its error from the closed pipe
        pass


async def test_when_writing_works_again_the_loss_is_logged(pipe: tuple[int, int]) -> None:
    log = AccessLog("json", wall=wall, fd=pipe[1])
    with capture_logs() as told:
        async with running(log):
            os.close(pipe[0])
            for _ in range(2):
                log.finished(exchange_of())
                while log._waiting:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            assert log.dropped == 2
            [failing] = told
            assert "Broken pipe" in failing["error"]

            reader, writer = os.pipe()
            os.dup2(writer, pipe[1])
            os.close(writer)
            log.finished(exchange_of(target=b"/back"))
            assert await lines_from(reader, 1) == ["/back"]
            os.close(reader)
    assert told[1:] == [{"event": "access log records were dropped", "count": 2, "log_level": "warning"}]


async def test_a_non_blocking_descriptor_is_waited_for(pipe: tuple[int, int]) -> None:
    flags = fcntl.fcntl(pipe[1], fcntl.F_GETFL)
    fcntl.fcntl(pipe[1], fcntl.F_SETFL, flags | os.O_NONBLOCK)
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    log = AccessLog("json", wall=wall, fd=pipe[1])
    async with running(log):
        for number in range(500):
            log.finished(exchange_of(target=b"/%d" % number))
        assert await lines_from(pipe[0], 500) == [f"/{n}" for n in range(500)]
    assert log.dropped == 0


def test_lines_that_several_processes_write_are_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[bytes] = []
    monkeypatch.setattr(access_log, "write", lambda _fd, data: pieces.append(bytes(data)))
    lines = [b"x" * length + b"\n" for length in (10, 4000, 85, 4095, 5000, 3, 2048, 2046)]
    access_log.write_lines(1, b"".join(lines))
    assert b"".join(pieces) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert [len(piece) for piece in pieces if len(piece) > select.PIPE_BUF] == [5001]
