"""The real program is replaced by another one: under traffic, with mistakes, by call and by signal."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import pytest
import trio

from lb.upgrade.upgrader import TELL_SECONDS
from tests.system.program import Program, backend_flags, until
from tests.system.upgrades import (
    UPGRADE,
    Traffic,
    asked,
    backend,
    open_tunnel,
    processes_of,
    programs_of,
    says_ping,
    service_manager,
    upgradable,
)

UPGRADES = int(os.environ.get("UPGRADES", "3"))
LEAST_A_SECOND, KEPT = (500, 100) if UPGRADES > 3 else (100, 20)
"""Requests, and clients that keep their connections. Many upgrades are asked for by a recipe of their own."""
CONFIG = """
listen = ["fd://{fd}", "unix:{folder}/lb.sock?mode=0666"]
state = "{folder}/state.json"
{more}
[pools.default]
{probe}
[[pools.default.backends]]
id = "web1"
url = "http://127.0.0.1:{port}"
[[pools.default.backends]]
id = "web2"
url = "http://127.0.0.1:{port}"
[pools.tied]
sticky = {{}}
backends = [{{ id = "tied1", url = "http://127.0.0.1:{port}" }}]
[[routes]]
path = "/tied"
pool = "tied"
"""
SLEEPS = "#!/bin/sh\nexec sleep 60\n"
ENDS = "#!/bin/sh\nexit 7\n"


@pytest.mark.parametrize("workers", [1, 2])
async def test_upgrades_under_traffic_refuse_reset_and_fail_nobody(workers: int, tmp_path: Path) -> None:
    """By the API and by signal, in turns; two tunnels stay in the first program until the end.

    In the middle the configuration is broken, and nothing comes of it but the message.
    """
    file = tmp_path / "lb.toml"
    async with backend() as port:
        text = f'timeouts.grace = "5m"\nworkers = {workers}\n'
        text += f'[[pools.default.backends]]\nurl = "http://127.0.0.1:{port}"\n'
        file.write_text(text)
        async with upgradable("--config", str(file)) as lb:
            await _upgraded_again_and_again(lb, file, text, workers)


async def _upgraded_again_and_again(lb: Program, file: Path, text: str, workers: int) -> None:
    traffic = Traffic(lb.connect)
    pids = [await lb.pid()]
    one, other = await open_tunnel(lb), await open_tunnel(lb)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(traffic.run, kept=KEPT))
        began = trio.current_time()
        for number in range(UPGRADES):
            if number == UPGRADES // 2:
                await _refused(lb, file, text, pids[-1])
            if number % 2:
                os.kill(pids[-1], signal.SIGUSR2)
            else:
                assert (await lb.upgrade())["before"]["pid"] == pids[-1]
            await until(partial(_is_other_than, lb, pids[-1]))
            pids.append(await lb.pid())
            await until(partial(_serve, lb, workers))
        seconds = trio.current_time() - began
        traffic.stop()
    assert traffic.failures == [], lb.said.decode()
    assert traffic.total > LEAST_A_SECOND * seconds, (traffic.done, seconds)
    assert len({*pids}) == UPGRADES + 1
    await until(partial(_run_alone, lb, pids[0], pids[-1]))
    await one.aclose()  # of which the first program would tell the second one, which has ended
    await trio.sleep(3 * TELL_SECONDS)
    await says_ping(other)
    await other.aclose()
    await until(partial(_run_alone, lb, pids[-1]))
    assert b"Traceback" not in lb.said
    assert lb.said.count(b'"cut": 0') == UPGRADES


async def _refused(lb: Program, file: Path, text: str, pid: int) -> None:
    """Ask for an upgrade while the file is broken."""
    before = programs_of(lb.process.pid)
    await trio.Path(file).write_text(f"listem = 3\n{text}")
    problem = await lb.upgrade(409)
    assert "listem" in problem["detail"]
    assert await lb.pid() == pid
    assert {*programs_of(lb.process.pid)} <= {*before}  # one of them may have ended meanwhile
    await trio.Path(file).write_text(text)


async def _serve(lb: Program, workers: int) -> bool:
    """Whether all workers of the program that serves now do so."""
    listed = (await lb.api("GET", "/workers"))["items"]
    return [each["state"] for each in listed] == ["serving"] * (workers if workers > 1 else 0)


async def _is_other_than(lb: Program, pid: int) -> bool:
    return await lb.pid() != pid


async def _run_alone(lb: Program, *pids: int) -> bool:
    return programs_of(lb.process.pid) == sorted(pids)


async def test_one_upgrade_hands_over_all_that_there_is(tmp_path: Path) -> None:
    """Sockets of all kinds, wishes, a drain that goes on, the key of cookies, the service manager."""
    file = tmp_path / "lb.toml"
    with closing(socket.create_server(("127.0.0.1", 0))) as given:
        async with backend() as port, service_manager(tmp_path / "notify") as manager:
            told = {"fd": given.fileno(), "folder": tmp_path, "port": port}
            file.write_text(CONFIG.format(more="", probe="", **told))
            options = {"pass_fds": [given.fileno()], "env": {**os.environ, **manager.environment}}
            async with upgradable("--config", str(file), listen=None, **options) as lb:
                old = await lb.pid()
                async with _at(lb, given, tmp_path) as (first, second):
                    cookie = _cookie_in(await asked(first, "/tied"))
                    await lb.api("POST", "/backends/web2/maintenance")
                    await lb.api("PATCH", "/backends/web1", json={"weight": 0})
                    url = f"http://127.0.0.1:{port}"
                    await lb.api("POST", "/backends", 201, json={"id": "new", "url": url, "weight": 3})
                    assert " 101 " in await asked(second, "/", *UPGRADE)
                    await lb.api("POST", "/backends/new/drain?timeout=50s&then=remove", 202)
                    file.write_text(CONFIG.format(more='via = "n"', probe='probe = {kind = "tcp"}', **told))

                    done = await lb.upgrade()

                    new = done["after"]["pid"]
                    assert done["before"]["pid"] == old != new == await lb.pid()
                    items = {item["id"]: item for item in (await lb.api("GET", "/backends"))["items"]}
                    assert items["web1"]["weight"] == 0
                    assert items["web2"]["status"]["state"] == "maintenance"
                    assert items["new"]["status"]["state"] == "draining"
                    assert items["new"]["status"]["in_flight"] == 1
                    assert "connection: close" in (await asked(first, "/tied")).lower()
                    os.kill(old, signal.SIGTERM)  # as systemd sends it to every process of the unit
                    await until(partial(lb.has_said, b"stopping: another program serves"))
                    await says_ping(second)
                async with _at(lb, given, tmp_path) as (first, second):
                    for stream in (first, second):
                        assert "set-cookie" not in (await asked(stream, "/tied", cookie)).lower()
                await until(partial(_is_removed, lb, "new"))
                await until(partial(manager.is_told, new, "WATCHDOG=1"))
                assert (old, f"MAINPID={new}") in manager.told
                assert (new, "READY=1") in manager.told
                await until(partial(_run_alone, lb, new))
                assert await lb.ends() == 0
                assert (old, "STOPPING=1") not in manager.told
                assert 'lb_upgrades_total{result="success"} 1.0' in await lb.api("GET", "/metrics")
                assert '"maintenance"' in (tmp_path / "state.json").read_text()
                assert (tmp_path / "lb.sock").exists()
    assert not (tmp_path / "lb.sock").exists()


@asynccontextmanager
async def _at(
    lb: Program, given: socket.socket, folder: Path
) -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Connections to both of its listeners."""
    async with await trio.open_tcp_stream(*given.getsockname()) as first:
        async with await trio.open_unix_socket(folder / "lb.sock") as second:
            yield first, second


def _cookie_in(head: str) -> str:
    [line] = [line for line in head.splitlines() if line.lower().startswith("set-cookie: ")]
    return f"Cookie: {line.partition(': ')[2].partition(';')[0]}"


async def _is_removed(lb: Program, backend_id: str) -> bool:
    return backend_id not in await lb.counts()


async def test_a_new_program_that_does_not_serve_changes_nothing(tmp_path: Path) -> None:
    """A mistake in its file, one that ends, one that hangs, and the end of the old one meanwhile."""
    file, other = tmp_path / "lb.toml", tmp_path / "other"
    async with backend() as port:
        plain = (
            f'timeouts.upgrade = "30s"\npools.default.backends = [{{ url = "http://127.0.0.1:{port}" }}]\n'
        )
        named = plain + f'upgrade.program = "{other}"\n'
        file.write_text(plain)
        async with upgradable("--config", str(file)) as lb, await lb.connect() as client:
            pid = await lb.pid()
            assert " 200 " in await asked(client, "/")

            file.write_text(plain + "listem = 3\n")
            problem = await lb.upgrade(409)
            assert "listem" in problem["detail"]
            file.write_text(named)
            problem = await lb.upgrade(409)
            assert f"{other} cannot be started: No such file or directory" in problem["detail"]
            _is_program(other, ENDS)
            problem = await lb.upgrade(409)
            assert "exit code 7" in problem["detail"]

            _is_program(other, SLEEPS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lb.upgrade, 409)
                await until(partial(_runs, lb, 2))
                problem = await lb.upgrade(409)
                assert "an upgrade goes on already" in problem["detail"]
                os.kill(pid, signal.SIGUSR2)
                await until(
                    partial(
                        lb.has_said, b'"operation": "upgrade", "status": null, "why": "an upgrade goes on'
                    )
                )
                assert " 200 " in await asked(client, "/")
                assert await lb.pid() == pid
                lb.process.send_signal(signal.SIGTERM)
                assert await lb.ends() == 0
            assert processes_of(pid) == []


def _is_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


async def _runs(lb: Program, count: int) -> bool:
    return len(processes_of(lb.process.pid)) == count


async def test_a_new_program_that_is_silent_is_given_up(tmp_path: Path) -> None:
    _is_program(other := tmp_path / "other", SLEEPS)
    flags = ["--set", f"upgrade.program={other}", "--set", "timeouts.upgrade=300ms"]
    async with backend() as port, upgradable(*backend_flags([port]), *flags) as lb:
        problem = await lb.upgrade(409)
        assert "not ready within 0.3 s (timeouts.upgrade)" in problem["detail"]
        await until(partial(_run_alone, lb, lb.process.pid))
        assert 'lb_upgrades_total{result="failure"} 1.0' in await lb.api("GET", "/metrics")
