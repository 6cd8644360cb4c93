"""Fault f4.4: what the access log has of a request behind a CDN, its combined format, and its file."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import lb as library
from lb.app import Balancer
from lb.config.config_source import ConfigSource
from lb.errors import ConfigError
from lb.observe import log_file
from lb.observe.access_log import REOPEN_SECONDS, AccessLog
from lb.settings.balancer_settings import AccessLogSettings
from tests.kit import GET, OK, Scene, running, virtual_time

pytestmark = virtual_time

COMBINED = re.compile(
    r'(\S+) (\S+) (\S+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "([^"]*)" (\d{3}) (\d+)'
    r' "([^"]*)" "([^"]*)"((?: "[^"]*")*)'
)


def settings(path: Path, **more: Any) -> AccessLogSettings:
    return library.build({"access_log": {"file": str(path), **more}}).access_log


@asynccontextmanager
async def logging(wanted: AccessLogSettings, **config: Any) -> AsyncIterator[tuple[Scene, AccessLog]]:
    """A balancer with this access log, whose backend answers."""
    async with running(**config) as lb, lb.backend.answering(OK), trio.open_nursery() as nursery:
        log = AccessLog.of(wanted, wall=lambda moment: 1_800_000_000.0 + moment)
        log.attach(lb.context)
        nursery.start_soon(log.run)
        yield lb, log
        nursery.cancel_scope.cancel()


async def asked(lb: Scene, *lines: bytes, target: bytes = b"/") -> None:
    request = (
        GET.replace(b" / ", b" %b " % target)[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    )
    await (await lb.asks(request)).hears(200)


async def written(path: Path, count: int) -> list[str]:
    """The lines of the file, once there are so many."""
    with trio.fail_after(60):
        while len(lines := lines_in(path)) < count:  # noqa: ASYNC110 - a thread writes it
            await trio.sleep(0.1)
    return lines


def lines_in(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def open_files() -> set[str]:
    return {os.path.realpath(f"/dev/fd/{fd}") for fd in os.listdir("/dev/fd")}


# -- what a line has --------------------------------------------------------------------------------------


async def test_f4_4_behind_a_cdn_it_has_the_client_and_the_fields_that_are_named(tmp_path: Path) -> None:
    wanted = settings(
        tmp_path / "log", format="json", fields=["Host", "User-Agent", "Referer", "x-forwarded-for"]
    )
    async with logging(wanted, trusted_proxies=["127.0.0.1"]) as (lb, _):
        await asked(lb, b"X-Forwarded-For: 6.6.6.6, 192.0.2.7", b"USER-AGENT: curl/8", b"Cookie: secret")
        [line] = await written(tmp_path / "log", 1)
    told = msgspec.json.decode(line)
    assert told["client"] == "192.0.2.7"
    assert told["peer"].startswith("127.0.0.1:")
    assert told["fields"] == {
        "Host": "a",
        "User-Agent": "curl/8",
        "Referer": None,
        "x-forwarded-for": "6.6.6.6, 192.0.2.7",
    }
    assert "secret" not in line


async def test_f4_4_long_and_odd_values_are_cut_and_escaped(tmp_path: Path) -> None:
    for line_format in ("json", "text", "combined"):
        path = tmp_path / line_format
        wanted = settings(path, format=line_format, fields=["User-Agent", "X-Odd"])
        async with logging(wanted) as (lb, _):
            await asked(lb, b"User-Agent: " + b"x" * 5000, b'X-Odd: a" - "b\\ \xc3\xa4 status=200')
            [line] = await written(path, 1)
        assert "x" * 509 + "..." in line
        assert "x" * 510 not in line
        assert line.isascii()
        assert '" - "' not in line
        assert r"\xc3\xa4" in line.replace("\\\\", "\\")


async def test_f4_4_where_nothing_is_named_nothing_is_kept(tmp_path: Path) -> None:
    async with logging(settings(tmp_path / "log", format="json")) as (lb, log):
        await asked(lb, b"User-Agent: a")
        assert lb.exchange.noted is None
        assert log.noted is None
        [line] = await written(tmp_path / "log", 1)
    assert "fields" not in msgspec.json.decode(line)


@pytest.mark.parametrize(
    ("lines", "referer", "agent"),
    [
        ((b"Referer: http://b.test/?q=1", b"User-Agent: M/5 (X11)"), "http://b.test/?q=1", "M/5 (X11)"),
        ((), "-", "-"),
        ((b'User-Agent: x" 200 9 "http://forged/" "y', b"Referer: \\"), r"\x5c", None),
    ],
)  # fmt: skip
async def test_f4_4_the_combined_format_is_that_of_the_tools(
    tmp_path: Path, lines: tuple[bytes, ...], referer: str, agent: str | None
) -> None:
    wanted = settings(tmp_path / "log", format="combined", fields=["user-agent", "Host"])
    async with logging(wanted, trusted_proxies=["127.0.0.1"]) as (lb, _):
        await asked(lb, b"X-Forwarded-For: 2001:db8::7", *lines, target=b'/a?b="c')
        [line] = await written(tmp_path / "log", 1)
    found = COMBINED.fullmatch(line)
    assert found is not None, line
    client, one, two, _, request, status, size, there, who, rest = found.groups()
    assert (client, one, two, status, size) == ("2001:db8::7", "-", "-", "200", "2")
    assert (request, there, rest) == (r"GET /a?b=\x22c HTTP/1.1", referer, ' "a"')
    assert who == (agent or r"x\x22 200 9 \x22http://forged/\x22 \x22y")


async def test_f4_4_a_request_that_is_none_has_a_combined_line_too(tmp_path: Path) -> None:
    async with logging(settings(tmp_path / "log", format="combined")) as (lb, _):
        await (await lb.asks(b"rubbish\r\n\r\n")).hears(400)
        await (await lb.asks(b"GET / HTTP/1.0\r\n\r\n")).hears(200)
        lines = await written(tmp_path / "log", 2)
    assert re.search(r'^127\.0\.0\.1 - - \[.*\] "-" 400 0 "-" "-"$', lines[0])
    assert '"GET / HTTP/1.0" 200' in lines[1]


# -- the file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_made", [True, False], ids=["create", "nocreate"])
async def test_f4_4_it_is_opened_again_after_a_rotation(tmp_path: Path, is_made: bool) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    async with logging(settings(path, format="json")) as (lb, log):
        await asked(lb, target=b"/1")
        await written(path, 1)
        path.rename(old)
        await asked(lb, target=b"/2")
        assert len(await written(old, 2)) == 2
        if is_made:
            path.touch(0o600)
        assert log.reopen()
        await asked(lb, target=b"/3")
        [line] = await written(path, 1)
        assert msgspec.json.decode(line)["target"] == "/3"
        assert len(old.read_text().splitlines()) == 2
    assert log.dropped == 0


async def test_f4_4_a_folder_that_has_vanished_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    async with logging(settings(path, format="json")) as (lb, log):
        path.unlink(missing_ok=True)
        path.parent.rmdir()
        assert log.reopen()
        await asked(lb)
        assert len(await written(path, 1)) == 1


async def test_f4_4_one_that_cannot_be_opened_again_is_tried_later(tmp_path: Path) -> None:
    path, old = tmp_path / "logs" / "log", tmp_path / "old"
    path.parent.mkdir()
    async with logging(settings(path, format="json")) as (lb, log):
        lb.errors_expected = 1
        path.parent.rename(old)
        path.parent.touch()  # a file has taken the folder's name
        log.reopen()
        for count in (1, 2):
            await asked(lb, target=b"/1")
            assert len(await written(old / "log", count)) == count
            await trio.sleep(REOPEN_SECONDS)
        path.parent.unlink()
        await asked(lb, target=b"/2")
        assert len(await written(path, 1)) == 1
    assert log.dropped == 0


async def test_f4_4_without_a_file_there_is_nothing_to_open_again() -> None:
    assert not AccessLog("json", wall=lambda moment: moment, fd=1).reopen()


@pytest.mark.parametrize("check", [lambda path: AccessLog.of(settings(path), wall=float), log_file.check])
async def test_f4_4_one_that_cannot_be_opened_at_the_start_is_an_error_of_its_key(
    tmp_path: Path, check: Any
) -> None:
    for path, why in ((tmp_path / "none" / "log", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(
            ConfigError, match=rf"^access_log\.file: {path} cannot be opened for writing: {why}"
        ):
            check(path)
    log_file.check(str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        (
            {"format": "apache"},
            r"access_log\.format: .*one of auto, off, short, text, json, combined",
        ),
        ({"fields": ["User Agent"]}, r"the first of access_log\.fields: .*not a token"),
        ({"fields": "User Agent"}, r"access_log\.fields: .*not a token"),
        ({"fields": ["X"] * 33}, r"access_log\.fields: more than 32"),
        ({"file": ""}, r"access_log\.file: expected the path"),
        ({"path": "x"}, r"access_log\.path: unknown key"),
    ],
)
async def test_f4_4_a_mistake_names_its_key(table: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ConfigError, match=mistake):
        library.build({"access_log": table})


async def test_f4_4_the_format_alone_is_enough() -> None:
    assert library.build({"access_log": "combined"}).access_log == AccessLogSettings(format="combined")


async def test_f4_4_a_reload_applies_it(tmp_path: Path) -> None:
    config, first, second = tmp_path / "lb.toml", tmp_path / "first", tmp_path / "second"

    def write(**table: Any) -> None:
        lines = [f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in table.items()]
        config.write_text('listen = ["127.0.0.1:0"]\n[access_log]\n' + "".join(lines))

    write(format="json", file=str(first))
    source = ConfigSource(config, {})
    log = AccessLog.of(source.read().access_log, wall=float)
    balancer = Balancer(source.read(), log, source)
    reload = balancer.control.reload
    assert reload is not None
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(balancer.run))
        context = balancer.traffic.context
        count = len(context.observers)
        write(format="combined", file=str(second), fields=["Host"])
        difference = await reload()
        assert not difference.needs_restart
        assert context.noted_fields == (b"host", b"referer", b"user-agent")
        assert second.exists()
        write(format="text", file=str(tmp_path / "none" / "log"))
        with pytest.raises(ConfigError, match=r"access_log\.file: "):
            await reload()
        assert context.noted_fields == (b"host", b"referer", b"user-agent")
        write(format="off")
        await reload()
        assert len(context.observers) == count - 1
        assert log.noted is None
        write(format="text", file=str(first))
        await reload()
        assert len(context.observers) == count
        balancer.stop()
    assert not {str(first), str(second)} & open_files()
