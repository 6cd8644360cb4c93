"""The lock of a folder that several balancers share: one of them makes an order at a time.

It is an `flock` of a file, so the kernel gives it back when its owner dies. Nothing here waits: who does not
get it comes again. The file says who has it, for messages.
"""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

LONGEST_OWNER = 300


class FolderLock:
    """The lock with this path. One owner calls it, one call at a time; each call blocks on the disk alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Have the lock if nobody has it; whether we have it now. OSError where there can be none."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._is_still(handle):
                raise BlockingIOError
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        except BlockingIOError:
            os.close(handle)
            return False
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return True

    def give_back(self) -> None:
        """Let others have it. Nothing happens where we do not have it."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)

    def owner(self) -> str:
        """Who has it, as they have written; empty where that cannot be read."""
        with suppress(OSError), self._path.open("rb") as file:
            text = file.read(LONGEST_OWNER).decode(errors="replace")
            return "".join(letter if letter.isprintable() else "?" for letter in text)
        return ""

    def _is_still(self, handle: int) -> bool:
        """Whether the path names the file that we have locked, and not one that was made since."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False
