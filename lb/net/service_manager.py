"""What systemd, or another supervisor with its protocol, is told: sd_notify(3).

Where NOTIFY_SOCKET is not set nothing is told. A message that cannot be sent is lost, for the service manager
must not be able to hold up or end the traffic.
"""

import os
import socket
import time
from collections.abc import Mapping

import trio

MILLION = 1_000_000
PATIENCE_SECONDS = 2.0
PAUSE_SECONDS = 0.01


class ServiceManager:
    """The service manager of this process. Call `close` at the end.

    `alive_every` is how often it wants to hear `alive`, in seconds, or None: half of WATCHDOG_USEC.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._sock = None if self._address is None else socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if self._sock is not None:
            self._sock.setblocking(False)
        self.alive_every = _alive_every(environ, os.getpid() if pid is None else pid)

    def ready(self, status: str) -> None:
        """It serves: after the start, or after a reload, which `reloading` has announced."""
        self._tell("READY=1", _status(status))

    def starting(self, status: str, seconds: float) -> None:
        """The start goes on, and may take so much longer than it was given."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * MILLION)}", _status(status))

    def reloading(self) -> None:
        """A reload begins. `ready` says that it is over, whether it has failed or not."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", _status(status))

    async def replaced_by(self, pid: int) -> None:
        """Another process is the main one, and is to be listened to; nothing more is told from here.

        The manager reads messages in their order, so what the other one says from now on counts. This one
        must not be lost, so it waits for a manager that is slow, for PATIENCE_SECONDS at most.
        """
        with trio.move_on_after(PATIENCE_SECONDS):
            while not self._tell(f"MAINPID={pid}"):  # noqa: ASYNC110 - the kernel tells nobody
                await trio.sleep(PAUSE_SECONDS)
        self.close()

    def alive(self) -> None:
        """The event loop turns."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _tell(self, *lines: str) -> bool:
        """Whether there is nobody to be told, or the message is on its way."""
        if self._sock is not None:
            try:
                self._sock.sendto("\n".join(lines).encode(), self._address or "")
            except OSError:
                return False
        return True


def _address(text: str) -> str | None:
    """The address of the socket; @ at its start stands for the zero byte of an abstract one."""
    if text.startswith("@") and len(text) > 1:
        return f"\0{text[1:]}"
    return text if text.startswith("/") else None


def _status(text: str) -> str:
    """The line of `systemctl status`. A line break would begin another assignment."""
    return f"STATUS={' '.join(text.split())}"


def _alive_every(environ: Mapping[str, str], pid: int) -> float | None:
    """None also where WATCHDOG_PID names another process, from which the variables were inherited."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdecimal() and int(microseconds)):
        return None
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(microseconds) / MILLION / 2
