"""A file that a reader always sees whole, the old one or the new one, whenever program or machine die.

The new content goes into a temporary file beside it, which then takes its name. Where that cannot be, because
the file is a mount of its own (a bind mount of a container) or its folder cannot be written, the file is
written in place; only then can a crash tear it.

A program that is killed leaves its temporary file behind. Each is locked while it is written, so the ones
without a lock belong to nobody and `sweep` removes them.
"""

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OF_THE_FOLDER = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
"""Errors of a folder in which nothing can be made, although a file in it may be writable."""
OF_A_MOUNT = frozenset((errno.EBUSY, errno.EXDEV))
"""Errors of a rename onto a file that is a mount of its own."""


def replace(path: str | os.PathLike[str], data: bytes) -> None:
    """Give the file this content, on disk.

    After an OSError the old content is there, or the new content is there and only the folder could not be
    synchronised; where the file is written in place it may be torn. No temporary file is left. It blocks:
    call it in a thread, and one call at a time.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # a device, which a rename would put away
        raise OSError(errno.EINVAL, "not a regular file", str(target))
    try:
        _replace(target, data)
    except OSError as exc:
        if exc.errno not in OF_THE_FOLDER | OF_A_MOUNT or not target.is_file():
            raise
        _write_in_place(target, data)


def can_be_replaced(path: str | os.PathLike[str]) -> bool:
    """True if `replace` will keep it whole, False if it will write in place; OSError if it can do neither."""
    target = Path(os.path.realpath(path))
    try:
        with _temporary(target):
            pass
    except OSError as exc:
        if exc.errno not in OF_THE_FOLDER or not target.is_file():
            raise
    else:
        if not _is_mount(target):
            return True
    os.close(os.open(target, os.O_WRONLY))
    return False


def _is_mount(target: Path) -> bool:
    """Whether the file is a mount of its own, also one from the same file system, which `ismount` misses."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return os.path.ismount(target)
    points = {line.split()[4].decode("unicode_escape") for line in mounts}  # a blank in a path is \\040
    return os.fsencode(target).decode("latin-1") in points


def sweep(path: str | os.PathLike[str]) -> int:
    """Remove the temporary files of writers that were killed; how many there were. It blocks."""
    target = Path(os.path.realpath(path))
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}")  # as `tempfile` names them
    count = 0
    with suppress(OSError):
        for name in os.listdir(target.parent):
            count += bool(pattern.fullmatch(name)) and _remove_if_nobodys(target.parent / name)
    return count


def _replace(target: Path, data: bytes) -> None:
    with _temporary(target) as (handle, temporary):
        _write(handle, data)
        os.fsync(handle)
        os.replace(temporary, target)
    _synchronise(target.parent)


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[int, str]]:
    """A locked file beside the target, of mode 0600; gone at the end, unless it was renamed."""
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle, temporary
    finally:
        os.close(handle)
        with suppress(OSError):
            os.unlink(temporary)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _write_in_place(target: Path, data: bytes) -> None:
    """Write over the old content and then cut off its end, so that the file is never empty."""
    handle = os.open(target, os.O_WRONLY)
    try:
        _write(handle, data)
        os.ftruncate(handle, len(data))
        os.fsync(handle)
    finally:
        os.close(handle)


def _synchronise(folder: Path) -> None:
    """Write the folder to disk; otherwise a power cut may lose the new name, though not the data."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_if_nobodys(path: Path) -> bool:
    """Remove a temporary file of ours that no living process has locked."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
