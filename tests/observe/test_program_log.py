"""The program's log: one format for every library, and a blocked pipe does not stop the traffic."""

import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest
import structlog

from lb.observe.program_log import configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_is_one_object_a_line_from_every_library(capsys: pytest.CaptureFixture[str]) -> None:
    configure(json=True)
    structlog.get_logger("lb.app").info("backend ready", backend="web1")
    logging.getLogger("hypercorn.error").warning("listening on %s", "127.0.0.1:9000")
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert ours.items() >= {"event": "backend ready", "backend": "web1", "level": "info"}.items()
    assert theirs.items() >= {"event": "listening on 127.0.0.1:9000", "level": "warning"}.items()
    assert theirs["logger"] == "hypercorn.error"
    assert theirs["timestamp"].endswith("Z")


def test_a_traceback_stays_in_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure(json=True)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        structlog.get_logger().exception("connection failed")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["exception"].endswith("RuntimeError: broken")


def test_text_lines_are_readable(capsys: pytest.CaptureFixture[str]) -> None:
    configure(json=False)
    structlog.get_logger().info("backend ready", backend="web1")
    [line] = capsys.readouterr().err.splitlines()
    assert "backend ready" in line
    assert not line.startswith("{")


def test_configured_twice_each_line_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure(json=True)
    configure(json=True)
    structlog.get_logger().info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_full_pipe_loses_lines_instead_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        configure(json=True)
        for number in range(2000):
            structlog.get_logger().info("line", number=number, padding="x" * 100)
        read = os.read(reader, 1_000_000)
        structlog.get_logger().info("room again")
        assert b'"number": 0' in read
        assert b'"number": 1999' not in read
        assert b"room again" in os.read(reader, 1_000_000)


def test_a_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(os.devnull, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        configure(json=True)
        os.dup2(writer, stream.fileno())
        os.close(writer)
        structlog.get_logger().info("not read")
        with pytest.raises(BrokenPipeError):
            stream.flush()
        with open(os.devnull, "w") as sink:  # the handler flushes its rest there when it is closed
            os.dup2(sink.fileno(), stream.fileno())


def test_a_bug_in_a_log_call_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    configure(json=True)
    logging.getLogger("lb").warning("%d", "not a number")
    assert "TypeError" in capsys.readouterr().err


def test_a_long_line_is_cut_where_the_pipe_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        configure(json=True)
        structlog.get_logger().info(
            "long", padding="\u00e9" * 1_000_000
        )  # a blocking write would never return
        torn = os.read(reader, 1_000_000)
        assert torn.startswith(b'{"padding": ')
        assert len(torn) > 50_000
        structlog.get_logger().info("room again")
        nothing, lost, line, _end = os.read(reader, 1_000_000).split(b"\n")
        assert (nothing, json.loads(line)["event"]) == (b"", "room again")
        assert (json.loads(lost)["count"], json.loads(lost)["audit"]) == (1, 0)
        structlog.get_logger().info("whole")
        assert os.read(reader, 1_000_000).startswith(b"{")
