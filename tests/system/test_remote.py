"""The commands in front of the real program: what an operator types, and the exit codes a script sees."""

import subprocess
import sys
from functools import partial

import httpx
import trio

from tests.system.program import Program, program, until
from tests.system.servers import free_ports


async def lb(running: Program, *arguments: str, code: int = 0) -> str:
    """What the command says on stdout and stderr."""
    command = [sys.executable, "-m", "lb", *arguments, "--admin", running.admin]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == code, done.stdout
    return done.stdout.decode()


async def slow_request(running: Program, seconds: float) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        assert (await client.get(f"{running.url}/slow?seconds={seconds}")).status_code == 200


async def test_a_day_at_the_terminal() -> None:
    [nobody] = free_ports(1)
    async with program("--demo") as running, trio.open_nursery() as nursery:
        began = trio.current_time()
        assert "server3" in await lb(running, "backends")
        one_command = trio.current_time() - began
        for _ in range(3):  # longer than the next two commands take on this machine
            nursery.start_soon(partial(slow_request, running, 1 + 3 * one_command))
        await until(running.is_busy)
        late = await lb(running, "backends", "drain", "server1", "--wait", "100ms", code=4)
        assert "1 of 1 remain" in late
        assert "server1 is drained: 1 request ended" in await lb(running, "backends", "drain", "server1")
        assert "is told to take requests" in await lb(running, "backends", "ready", "server1")

        await lb(running, "backends", "add", f"http://127.0.0.1:{nobody}", "--id", "dead")
        for id in ("server1", "server2", "server3"):
            await lb(running, "backends", "drain", id, "--then", "maintenance")
        async with httpx.AsyncClient() as client:
            failed = await client.get(f"{running.url}/cart")
        assert failed.status_code == 502
        explained = await lb(running, "why", failed.headers["X-Request-Id"])
        assert "GET /cart: 502 connection_refused" in explained
        assert "  dead  |" in explained
        assert "/cart" in await lb(running, "why")
        assert "dead" in await lb(running, "top", "--once")

        assert await lb(running, "backends", "rm", "dead") != ""
        await lb(running, "backends", "rm", "dead", code=3)
        await lb(running, "backends", "weight", "server1", "99999999", code=5)
        assert "lb drain --undo takes it back" in await lb(running, "drain")
        assert "is ready" in await lb(running, "drain", "--undo")


async def test_nobody_is_there() -> None:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "lb", "backends", "--admin", f"127.0.0.1:{port}"]
    done = await trio.run_process(command, capture_stderr=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"lb: cannot reach http://127.0.0.1:%d: " % port)


async def test_the_balancer_is_told_to_drain_and_exit() -> None:
    async with program("--demo") as running:
        assert "it stops" in await lb(running, "drain", "--wait", "5s", "--exit")
        assert await running.ends() == 0
