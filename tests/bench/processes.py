"""Programs on a core of their own, and what they cost by the system's own accounts."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAM_CORE, LOAD_CORE = "0", "1"
START_SECONDS = 60.0
"""Twenty thousand routes take some programs half of it."""
STOP_SECONDS = 5.0


class NotStarted(Exception):
    """A program has ended, or does not listen in time."""


def free_port(host: str = "127.0.0.1") -> int:
    """One that the host may listen on. All of "0.0.0.0" may not where one address has just used the port."""
    with socket.create_server((host, 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def allow_many_files() -> None:
    """For this process and those that it starts."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pinned(core: str, command: list[str]) -> list[str]:
    """The command on one core, to be ended with us: where we are ended ourselves, we might not get to it."""
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", core, *command]


@contextmanager
def started(command: list[str], port: int, core: str, output: Path) -> Iterator[int]:
    """Run it on one core until the block ends; its pid. It accepts connections when the block begins.

    What it prints goes to the file `output`, and into the message if it does not start.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(
            pinned(core, command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; we end it in our turn
        )
    try:
        _wait_for(port, process, output)
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", output: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)  # noqa: TID251 - a script, and another process to wait for
    said = output.read_text(errors="replace")[-2000:]
    raise NotStarted(f"{process.args!r} does not listen on {port}: {said}")


def put_first(pid: int) -> None:
    """Before all other work on its core, where we may: what is interrupted finds its caches cold."""
    with suppress(PermissionError):
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


def run_for(commands: Sequence[list[str]], seconds: float) -> list[str]:
    """What each has printed when all are told to stop after so long."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(pinned(LOAD_CORE, each), stdout=subprocess.PIPE, text=True))
            for each in commands
        ]
        try:
            with suppress(subprocess.TimeoutExpired):
                running[0].wait(seconds)
            for process in running:
                process.send_signal(signal.SIGINT)
            return [process.communicate()[0] for process in running]
        finally:
            for process in running:
                process.kill()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living children, to the nanosecond."""
    clock = ~pid << 3 | 2  # what clock_getcpuclockid(3) makes of it
    return time.clock_gettime(clock) + sum(map(cpu_seconds, children(pid)))


def children(pid: int) -> list[int]:
    """Of all its threads: a process may be started in one that is not the main one."""
    return [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in _pids_in(file)]


def _pids_in(file: Path) -> list[int]:
    try:
        return [int(pid) for pid in file.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # the thread has ended since it was listed
        return []


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() + sum(map(resident, children(pid)))
