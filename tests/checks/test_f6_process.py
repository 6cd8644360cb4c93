"""Faults f6.2 to f6.4: the program and its signals, the layer in front of it, its service manager."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.kit import GET, OK, running, virtual_time
from tests.system.program import START_SECONDS, STOP_SECONDS, Program, backend_flags, program, until
from tests.system.servers import free_ports

LB = [sys.executable, "-m", "lb"]
RUN = [*LB, "run", "--listen", "127.0.0.1:0", "--no-admin", "--access-log", "off"]
RUN += ["--backend", "http://127.0.0.1:1"]


@asynccontextmanager
async def starting(number: int, command: list[str] = RUN) -> AsyncIterator[Program]:
    """A program that has just begun: it has imported next to nothing, but catches this signal."""
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process, command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        lb = Program(await nursery.start(run))
        nursery.start_soon(lb.read)
        await until(partial(catches, lb.process.pid, number))
        yield lb
        if lb.process.poll() is None:
            lb.process.send_signal(signal.SIGTERM)
        with trio.fail_after(STOP_SECONDS):
            await lb.process.wait()


async def catches(pid: int, number: int) -> bool:
    return bool(caught(pid) >> (number - 1) & 1)


def caught(pid: int) -> int:
    """The signals that a process catches, one bit each."""
    status = Path(f"/proc/{pid}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return int(mask, 16)


SAID_AT = {
    signal.SIGHUP: b"configuration reloaded",
    signal.SIGUSR1: b"signal ignored",
    signal.SIGUSR2: b"upgrading",
}


@pytest.mark.parametrize("number", SAID_AT)
async def test_f6_2_a_signal_that_comes_at_the_start_is_heeded_once_that_is_over(
    number: signal.Signals,
) -> None:
    async with starting(number) as lb:
        lb.process.send_signal(number)
        with trio.fail_after(START_SECONDS):
            await lb.announced.wait()
        said = SAID_AT[number]
        await until(partial(lb.has_said, said))
    assert await lb.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_f6_2_a_stop_at_the_start_is_an_orderly_end(number: signal.Signals) -> None:
    async with starting(signal.SIGTERM) as lb:  # Python itself catches SIGINT from the beginning
        lb.process.send_signal(number)
        assert await lb.ends() == 0
    assert b"Traceback" not in lb.said


async def test_f6_2_a_second_stop_ends_a_start_that_is_stuck() -> None:
    command = [sys.executable, "-c", f"{STUCK}", "run"]
    async with starting(signal.SIGTERM, command) as lb:
        await until(partial(lb.has_said, b"stuck"))
        for _ in range(2):
            lb.process.send_signal(signal.SIGTERM)
            await trio.sleep(0.1)  # two of a kind that wait are one
        assert await lb.ends() == -signal.SIGTERM


STUCK = """
import sys, threading
from lb.early_signals import keep_for_a_run
keep_for_a_run()
print("stuck", file=sys.stderr, flush=True)
while True:
    threading.Event().wait(0.01)
"""


def test_f6_2_other_commands_leave_signals_to_the_system() -> None:
    script = "import sys, signal; sys.argv = ['lb', 'backends']; import lb.__main__;"
    script += "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


# -- the layer in front ------------------------------------------------------------------------------------


@virtual_time
async def test_f6_3_after_the_wish_to_stop_the_port_stays_open_for_the_delay() -> None:
    async with running(timeouts={"shutdown_delay": "7s"}) as lb, lb.backend.answering(OK):
        lb.balancer.stop()
        assert lb.balancer.control.stopping  # /readyz is 503
        await trio.sleep(6.9)
        client = await lb.asks(GET)
        assert (await client.hears(200))["Connection"] == "close"
        await trio.sleep(0.2)
        with pytest.raises(OSError, match=r"refused|all attempts"):
            await lb.client()


@virtual_time
async def test_f6_3_a_drain_before_it_counts() -> None:
    async with running(timeouts={"shutdown_delay": "7s"}) as lb:
        lb.balancer.control.begin_drain()
        await trio.sleep(5)
        lb.balancer.stop()
        await trio.sleep(1.9)
        await lb.client()
        await trio.sleep(0.2)
        with pytest.raises(OSError, match=r"refused|all attempts"):
            await lb.client()


@virtual_time
async def test_f6_3_without_a_delay_the_port_closes_at_once() -> None:
    async with running() as lb:
        lb.balancer.stop()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match=r"refused|all attempts"):
            await lb.client()


async def test_f6_3_a_second_signal_cuts_the_delay_short() -> None:
    flags = backend_flags(free_ports(1))
    async with program(*flags, "--set", "timeouts.shutdown_delay=1h") as lb:
        lb.process.send_signal(signal.SIGTERM)
        await until(partial(lb.has_said, b"stopping"))
        await lb.api("GET", "/readyz", expect=503)
        async with await lb.connect():
            pass
        lb.process.send_signal(signal.SIGTERM)
        assert await lb.ends() == 128 + signal.SIGTERM


# -- the service manager -----------------------------------------------------------------------------------


class Manager:
    """The socket of a service manager, and what it was told."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self.told: list[dict[str, str]] = []

    async def hears(self, key: str) -> dict[str, str]:
        """The next message that has this key; others in between are kept in `told`."""
        with trio.fail_after(START_SECONDS):
            while True:
                text = (await self._sock.recv(4096)).decode()
                message = dict(line.split("=", 1) for line in text.splitlines())
                self.told.append(message)
                if key in message:
                    return message


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, Mapping[str, str]]]:
    path = str(tmp_path / "notify") if request.param == "a path" else f"@lb-test-{time.monotonic_ns()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(path.replace("@", "\0", 1) if path.startswith("@") else path)
        sock.setblocking(False)
        yield Manager(sock), {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}


async def test_f6_4_the_service_manager_is_told_of_start_reload_and_end(
    manager: tuple[Manager, Mapping[str, str]],
) -> None:
    told, variables = manager
    async with program(*backend_flags(free_ports(1)), env=environment(variables)) as lb:
        assert lb.address in (await told.hears("READY"))["STATUS"]
        for _ in range(3):
            assert await told.hears("WATCHDOG") == {"WATCHDOG": "1"}
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        lb.process.send_signal(signal.SIGHUP)
        began = int((await told.hears("RELOADING"))["MONOTONIC_USEC"])
        assert before <= began <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert "READY" in await told.hears("READY")
        lb.process.send_signal(signal.SIGTERM)
        assert "grace 30 s" in (await told.hears("STOPPING"))["STATUS"]
        assert await lb.ends() == 0
    assert sum("READY" in message for message in told.told) == 2


async def test_f6_4_a_reload_that_fails_is_over_too(
    manager: tuple[Manager, Mapping[str, str]], tmp_path: Path
) -> None:
    told, variables = manager
    file = tmp_path / "lb.toml"
    file.write_text("[pools.default]\nbackends = [{ url = 'http://127.0.0.1:1' }]\n")
    async with program("--config", str(file), env=environment(variables)) as lb:
        await told.hears("READY")
        file.write_text("nonsense = 1")
        lb.process.send_signal(signal.SIGHUP)
        await told.hears("RELOADING")
        await told.hears("READY")
        await until(partial(lb.has_said, b"not reloaded"))


async def test_f6_4_a_service_manager_that_is_gone_fails_nothing(tmp_path: Path) -> None:
    variables = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "20000"}
    async with program(*backend_flags(free_ports(1)), env=environment(variables)) as lb:
        lb.process.send_signal(signal.SIGHUP)
        await until(partial(lb.has_said, b"configuration reloaded"))
        lb.process.send_signal(signal.SIGTERM)
        assert await lb.ends() == 0


def environment(variables: Mapping[str, str]) -> Mapping[str, str]:
    return {**os.environ, **variables}
