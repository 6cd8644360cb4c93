"""Files as a source of backends: looked at every second, and read where one has changed.

`where` is a path, and may have `*`; several files are one set. A file that cannot be read, or holds no list
(`lb.discovery.lists`), is an error as a whole, for half of a set is none. So is a pattern that no file
matches: a volume that is not mounted looks like that. Who wants an empty set writes an empty list. Looking
beats being told (inotify), which bind mounts, network file systems and renamed folders all break.
"""

import os
from collections.abc import Callable
from glob import glob

import trio

from lb.core.announced import Announced, Announcement
from lb.discovery.backend_source import SourceFailed
from lb.discovery.lists import reading
from lb.slices import sliced

LOOK_SECONDS = 1.0
MOST_BYTES = 64 * 1024 * 1024
"""Of all files together."""

Mark = tuple[str, int, int, int]
"""A file and what tells one state of it from another: inode, time of change and length."""


class FilesSource:
    """The backends in these files (`lb.discovery.backend_source.Source`), looked at every `every` seconds."""

    kind = "files"

    def __init__(self, where: str, *, every: float = LOOK_SECONDS) -> None:
        self.where = where
        self._every = every

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """As in `Source`."""
        seen: list[Mark] | None = None
        announced: Announced | None = None
        while True:
            marks = await trio.to_thread.run_sync(self._marks)
            if announced is None or marks != seen:
                announced, seen = await self._read(marks), marks
            tell(announced)
            await trio.sleep(self._every)

    def _marks(self) -> list[Mark]:
        """What there is now; SourceFailed where it is nothing."""
        paths = sorted(glob(self.where))
        if not paths:
            raise SourceFailed(f"{self.where}: there is no such file")
        marks = []
        for path in paths:
            try:
                found = os.stat(path)
            except OSError as exc:
                raise SourceFailed(f"{path} cannot be read: {exc.strerror}") from exc
            marks.append((path, found.st_ino, found.st_mtime_ns, found.st_size))
        if sum(size for *_, size in marks) > MOST_BYTES:
            raise SourceFailed(f"{self.where}: more than {MOST_BYTES} bytes")
        return marks

    async def _read(self, marks: list[Mark]) -> Announced:
        """The set that these files are together."""
        backends, skipped = dict[str, Announcement](), list[str]()
        for path, *_ in marks:
            data = await trio.to_thread.run_sync(_content, path)
            try:
                found = await sliced(reading(data))
            except ValueError as exc:
                raise SourceFailed(f"{path}: {exc}") from exc
            skipped += [f"{path}: {sentence}" for sentence in found.skipped]
            for said in found.backends:
                if backends.setdefault(said.id, said) is not said:
                    skipped.append(f"{path}: {said.id}: another file has it already")
        return Announced(tuple(backends.values()), tuple(skipped), self._every)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MOST_BYTES)
    except OSError as exc:
        raise SourceFailed(f"{path} cannot be read: {exc.strerror}") from exc
