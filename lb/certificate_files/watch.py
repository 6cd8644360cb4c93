"""Which files are others than when they were read.

A stamp tells it, mostly. It does not where a file is written twice within a tick of its file system's clock,
the second time after it was read; so a file that was young when it was read is read again with the next
looks, until it is old. Nor does it where what kept us from using a file is not in the file, as a folder that
nobody may enter or a lack of descriptors; so one that was refused is read again with each look.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lb.errors import ConfigError
from lb.tls.pem_files import PemFile, Stamp, read_pem, stamp_of

OLD_SECONDS = 3.0
"""The clocks of file systems tick once in 2 s at least (FAT), and mostly 250 times a second."""


class Seen(NamedTuple):
    """What was in a file, or why it could not be read. `is_old`: if it is written again its stamp differs."""

    stamp: Stamp | None
    content: PemFile | str
    is_old: bool


def see(path: str) -> Seen:
    """The file as it is now. It blocks."""
    stamp = stamp_of(path)  # before it is read
    try:
        content: PemFile | str = read_pem(path)
    except ConfigError as exc:
        content = str(exc)
    return Seen(stamp, content, stamp is None or _is_old(stamp))


def _is_old(stamp: Stamp) -> bool:
    return abs(time.time() - max(stamp.modified, stamp.changed) / 1e9) > OLD_SECONDS


class Looking:
    """Reads files for one plan, each once, so that one that two keys name is the same for both."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}

    def read(self, path: str) -> PemFile:
        """As `read_pem`."""
        if path not in self.seen:
            self.seen[path] = see(path)
        content = self.seen[path].content
        if isinstance(content, str):
            raise ConfigError(content)
        return content


class Watch:
    """Remembers what was read of each file, and finds those that are others now.

    `refused` are those that could not be used.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self.refused: frozenset[str] = frozenset()

    def note(self, seen: Mapping[str, Seen], refused: frozenset[str] = frozenset()) -> None:
        """This was read. Of all files these could not be used."""
        self._seen |= seen
        self.refused = refused

    def changed(self, paths: Iterable[str]) -> frozenset[str]:
        """Those that are others than what was noted. It blocks.

        One that is gone has not changed: it may be about to be replaced, and what it held is still served.
        """
        return frozenset(path for path in paths if self._has_changed(path))

    def _has_changed(self, path: str) -> bool:
        now, seen = stamp_of(path), self._seen.get(path)
        if now is None:
            return False
        if seen is None or now != seen.stamp:
            return True
        if seen.is_old and path not in self.refused:
            return False
        again = see(path)
        if again.content != seen.content:
            return True
        self._seen[path] = again
        return False
