"""Fault f6.7: no line of the audit is lost silently, and a file can keep them all."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from lb import cli
from lb.observe import audit_file
from lb.observe.audit_file import QUEUE_LINES, AuditFile
from lb.observe.audit_trail import Entry
from lb.observe.program_log import configure, dropped
from tests.admin.kit import Api, Saves, make_control
from tests.kit import running
from tests.system.program import backend_flags, program, until
from tests.system.servers import free_ports

NEW = {"id": "new", "url": "http://127.0.0.1:9"}


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
async def test_f6_7_lines_that_nobody_reads_are_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "w", buffering=1) as stream:  # noqa: ASYNC230 - a pipe
        monkeypatch.setattr(sys, "stderr", stream)
        configure(json=True)
        before = dropped["audit"]
        api = Api(make_control(Saves()))
        for number in range(400):
            body = {"id": f"b{number}", "url": "http://10.0.0.1", "labels": {"x": "y" * 200}}
            assert (await api("POST", "/backends", json=body)).status == 201
        written = os.read(reader, 1_000_000)
        lost = dropped["audit"] - before
        whole = [line for line in written.splitlines(keepends=True) if line.endswith(b"\n")]
        assert lost > 0
        assert len(whole) + lost == 400
        metrics = (await api("GET", "/metrics")).body.decode()
        assert f'lb_log_lines_dropped_total{{log="audit"}} {dropped["audit"]}' in metrics
        structlog.get_logger().info("somebody reads again")
        told, last = map(json.loads, os.read(reader, 1_000_000).splitlines()[-2:])
        assert (told["event"], told["level"]) == ("log lines were lost: nobody read them", "warning")
        assert (told["count"], told["audit"], last["event"]) == (lost, lost, "somebody reads again")


async def test_f6_7_a_file_keeps_every_act_and_may_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    flags = ["--set", f"admin.audit_file={path}", *backend_flags(free_ports(1))]
    async with program(*flags) as lb:
        await lb.api("POST", "/backends", 201, json=NEW)
        await lb.api("POST", "/backends", 403, json=NEW, headers={"Origin": "http://evil.test"})
        await until(partial(has_lines, path, 2))
        path.rename(tmp_path / "audit.json.1")
        await lb.api("DELETE", "/backends/new?force=true", 204)
    made, refused = lines(tmp_path / "audit.json.1")
    assert (made["operation"], made["status"]) == ("POST /backends", 201)
    assert made["changes"]["backends.new.url"] == [None, NEW["url"]]
    assert (refused["status"], refused["why"][:6]) == (403, "Origin")
    [removed] = lines(path)
    assert (removed["operation"], removed["at"][-1]) == ("DELETE /backends/{id}", "Z")
    assert path.stat().st_mode & 0o777 == 0o600


async def has_lines(path: Path, count: int) -> bool:
    return len(lines(path)) >= count


async def has_written(file: AuditFile) -> bool:
    return not file._waiting


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_f6_7_a_file_that_cannot_be_written_is_found_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lb.toml"
    file.write_text("[admin]\naudit_file = '/nowhere/audit.json'")
    for command in (["config", "check", str(file)], ["run", "--config", str(file)]):
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert "admin.audit_file: /nowhere/audit.json cannot be written: No such file" in said


def entry(number: int) -> Entry:
    return Entry(at=float(number), who="me", source="test", operation=str(number))


async def test_f6_7_what_cannot_be_written_is_counted_and_told_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "audit.json"
    file, before = AuditFile(str(path)), dropped["audit_file"]
    with structlog.testing.capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.run)
            for number in range(3):
                file.write(entry(number))
                await until(partial(has_written, file))
            path.parent.mkdir()
            file.write(entry(3))
            nursery.cancel_scope.cancel()
    assert dropped["audit_file"] - before == 3
    assert [line["event"] for line in logged] == [
        "the audit file cannot be written",
        "lines of the audit file were lost",
    ]
    assert logged[1]["count"] == 3
    assert path.read_text().strip() != ""
    assert [json.loads(line)["operation"] for line in path.read_text().split()] == ["3"]


async def test_f6_7_a_disk_that_hangs_costs_bounded_memory_and_a_bounded_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, before = AuditFile("/nowhere"), dropped["audit_file"]
    for number in range(QUEUE_LINES + 7):
        file.write(entry(number))
    assert len(file._waiting) == QUEUE_LINES
    assert dropped["audit_file"] - before == 7
    monkeypatch.setattr(audit_file, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(audit_file, "append", lambda *_: hang())
    release = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def hang() -> None:
        trio.from_thread.run(release.wait, trio_token=token)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    release.set()


async def test_f6_7_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    async with running(admin={"audit_file": str(path)}) as lb:
        api = Api(lb.balancer.control)
        assert (await api("POST", "/backends?dry_run=true", json=NEW)).status == 201
        assert (await api("POST", "/backends", json=NEW)).status == 201
    assert [line["operation"] for line in lines(path)] == ["POST /backends"]
