"""The files that hold certificates and keys: reading them, and what shows that they are others than before.

A file is another one where its stamp differs. The stamp is that of what a link leads to, so it also changes
where a link is turned to another file (certbot) or to another folder (Kubernetes).
"""

import os
import stat
from typing import NamedTuple

from lb.errors import ConfigError

LONGEST = 1 << 20
BY_OTHERS = stat.S_IRWXO
"""Bits of the mode for users who are neither owner nor group; a group of its own for keys is usual."""


class PemFile(NamedTuple):
    """What is in a file, and the mode that says who may read it."""

    path: str
    data: bytes
    mode: int

    @property
    def is_open_to_others(self) -> bool:
        return bool(self.mode & BY_OTHERS)


class Stamp(NamedTuple):
    """What changes when a file is replaced or written, or is given another owner or mode."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def read_pem(path: str) -> PemFile:
    """What is in the file. It blocks, but not on a pipe.

    ConfigError, which begins with the path, where it cannot be read or is too long.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # else opening a pipe blocks
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{path} is not a regular file")
            data = file.read(LONGEST + 1)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(data) > LONGEST:
        raise ConfigError(f"{path} is larger than {LONGEST} bytes")
    return PemFile(path, data, stat.S_IMODE(mode))


def stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def stamp_of(path: str) -> Stamp | None:
    """The stamp of the file as it is now; None where there is none. It blocks."""
    try:
        return stamp(os.stat(path))
    except OSError:
        return None
