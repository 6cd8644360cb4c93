"""The real program takes on another file while it works, and survives one that is wrong."""

import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trio_websocket

from tests.system.load import Load
from tests.system.program import Program, program, until
from tests.system.servers import nginx_servers

CLIENTS = 16
RELOADS = 6


def file_with(backends: dict[str, int], chat: int, **settings: str) -> str:
    """A file with these backends, and a WebSocket's pool behind /chat."""
    tables = [
        f'[[pools.default.backends]]\nid = "{id}"\nurl = "http://127.0.0.1:{port}"'
        for id, port in backends.items()
    ]
    return "\n".join(
        [
            "[pools.default]",
            *(f"{key} = {value}" for key, value in settings.items()),
            *tables,
            f'[pools.chat]\nbackends = [{{url = "http://127.0.0.1:{chat}"}}]',
            '[[routes]]\npath = "/chat"\npool = "chat"',
        ]
    )


async def reloads(lb: Program, result: str) -> int:
    """How many there were with this result."""
    text = await lb.api("GET", "/metrics")
    start = f'lb_config_reloads_total{{result="{result}"}} '
    return next(int(float(line.removeprefix(start))) for line in text.splitlines() if line.startswith(start))


async def hang_up(lb: Program, result: str = "success") -> None:
    """SIGHUP, and wait until it has had its effect."""
    before = await reloads(lb, result)
    lb.process.send_signal(signal.SIGHUP)

    async def is_counted() -> bool:
        return await reloads(lb, result) > before

    await until(is_counted)


async def only_there(lb: Program, ids: set[str]) -> bool:
    """Those that are not in the file any more have drained and left."""
    return set(await lb.counts()) == ids


async def echo(request: trio_websocket.WebSocketRequest) -> None:
    socket = await request.accept()
    try:
        while True:
            await socket.send_message(await socket.get_message())
    except trio_websocket.ConnectionClosed:
        return


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("workers", ["1", "3"])
async def test_reloads_under_load_fail_nobody_and_keep_a_websocket(tmp_path: Path, workers: str) -> None:
    file = trio.Path(tmp_path / "lb.toml")
    async with nginx_servers(3, tmp_path) as ports, trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, None)
        chat = (await nursery.start(serve)).port
        web = {f"web{number}": port for number, port in enumerate(ports, 1)}
        await file.write_text(file_with(web, chat))
        async with program("--config", str(file), "--workers", workers) as lb:
            load = Load(lb.address, b"/hello")
            nursery.start_soon(load.run, CLIENTS)
            async with trio_websocket.open_websocket_url(f"ws://{lb.address}/chat") as socket:
                for number in range(RELOADS):
                    await load.reaches(load.total + 100)
                    left = {id: port for id, port in web.items() if id != f"web{number % 3 + 1}"}
                    policy = '"ewma"' if number % 2 else '"round_robin"'
                    await file.write_text(file_with(left, chat, policy=policy, queue=str(100 + number)))
                    await hang_up(lb)
                    await until(partial(only_there, lb, {*left, f"127.0.0.1-{chat}"}))
                    await socket.send_message(f"after reload {number}")
                    assert await socket.get_message() == f"after reload {number}"
            await load.reaches(load.total + 100)
            load.stop()
            listing = await lb.api("GET", "/config")
            values = {item["key"]: item["value"] for item in listing["items"]}
            assert values["pools.default.queue"] == 100 + RELOADS - 1
        nursery.cancel_scope.cancel()
    assert load.failures == []
    assert set(load.answered) == {200}


@pytest.mark.needs("nginx")
async def test_a_broken_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    file = trio.Path(tmp_path / "lb.toml")
    async with nginx_servers(1, tmp_path) as [port]:
        await file.write_text(file_with({"web1": port}, 9))
        async with program("--config", str(file)) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address, b"/hello")
            nursery.start_soon(load.run, 2)
            before = await lb.api("GET", "/config")
            for broken, why in (("[pools", b"line 1, column 7"), ('polls = "x"', b"did you mean `pools`?")):
                await file.write_text(broken)
                await hang_up(lb, "failure")
                await until(partial(lb.has_said, why))
                problem = await lb.api("POST", "/config/reload", 422)
                assert why.decode() in problem["detail"]
            await file.unlink()
            await hang_up(lb, "failure")
            assert await lb.api("GET", "/config") == before
            await load.reaches(load.total + 50)
            load.stop()
    assert load.failures == []
    assert set(load.answered) == {200}


async def test_without_a_file_there_is_nothing_new(tmp_path: Path) -> None:
    async with program("--backend", "http://127.0.0.1:9") as lb:
        await hang_up(lb)
        assert (await lb.api("POST", "/config/reload"))["summary"] == "nothing changed"
        await until(partial(lb.has_said, b"nothing changed"))


async def test_a_hang_up_of_our_own_terminal_ends_us() -> None:
    """It is the same signal; a program that stayed would hold its ports, and nobody would know."""
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "lb",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--no-admin",
        "--access-log",
        "off",
    ]
    command += ["--backend", "http://127.0.0.1:9"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    said = b""
    with trio.fail_after(20):
        while b"listening" not in said:
            said += await trio.to_thread.run_sync(os.read, ours, 4096)
        process.send_signal(signal.SIGHUP)
        while b"nothing changed" not in said:
            said += await trio.to_thread.run_sync(os.read, ours, 4096)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert await process.wait() == 0
