"""The end of a process that has no say in it."""

import os
import signal
from contextlib import suppress

import structlog
import trio

END_SECONDS = 2.0

log = structlog.get_logger()


async def kill(process: trio.Process) -> None:
    """Kill a process of ours, and wait for its end: until then its entry and its pidfd are in use.

    Shielded, for it is called where what had the process was cancelled. One that SIGKILL does not end within
    END_SECONDS, because it is in the kernel, is left to it.
    """
    if process.returncode is not None:
        return
    process.kill()
    with trio.move_on_after(END_SECONDS, shield=True):
        await process.wait()
        return
    log.warning("process does not end", pid=process.pid)


def kill_pid(pid: int) -> None:
    """Kill the process, if it is there, and leave the wait for its end to others."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
