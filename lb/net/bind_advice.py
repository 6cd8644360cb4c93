"""Why an address could not be bound, as far as this machine can tell, and what to do about it."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

LISTENING = "0A"
"""TCP_LISTEN as /proc/net/tcp writes it: proc(5)."""
FIRST_FREE_PORT = 1024


def advice(number: int | None, port: int) -> str:
    """The end of a sentence about a TCP port that was refused with this `errno`, perhaps empty. It blocks."""
    if number == errno.EADDRINUSE:
        return f"{holder(port)}; port 0 takes any free one"
    if number == errno.EACCES and port < FIRST_FREE_PORT:
        return f"; ports below {FIRST_FREE_PORT} need CAP_NET_BIND_SERVICE, or a socket from systemd (fd://3)"
    return ""


def holder(port: int) -> str:
    """The end of a sentence: by which process the port is used; empty where that is not for us to see."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in filter(str.isdecimal, os.listdir("/proc")) if sockets else ():
        with suppress(OSError):  # another user's process, or one that has just ended
            files = f"/proc/{process}/fd"
            if any(os.readlink(f"{files}/{name}") in sockets for name in os.listdir(files)):
                return f" by pid {process} ({_text(f'/proc/{process}/comm').strip()})"
    return ""


def _inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in _text(table).splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                    yield inode


def _text(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()
