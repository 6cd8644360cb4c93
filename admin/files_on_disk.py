"""The files of the configuration and of tokens as they are on disk now, whether or not they were loaded.

They are read in a thread when one of them has changed: a mistake is trouble from then on, and not only at the
next start.
"""

import os
import shlex
from collections.abc import Sequence

import trio

from lb.config.admin_token import admin_token
from lb.control import Control
from lb.core.tenses import HAS, Tenses, clause
from lb.core.trouble_kinds import Found
from lb.errors import ConfigError

WOULD_FAIL = Tenses("would fail", "would fail", "would have failed")
HOLD = Tenses("hold", "hold", "held")
NANO = 1e9

Stamp = tuple[int, int, int] | None
"""Inode, size, and when anything of the file was changed last, its mode too, in nanoseconds since 1970."""


class FilesOnDisk:
    """Those that a restart of this balancer would read."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._seen: Sequence[Stamp] = ()
        self._found: list[Found] = []

    async def mistakes(self) -> list[Found]:
        """What is wrong in them."""
        admin, reload = self._control.config.admin, self._control.reload
        file = None if reload is None or reload.source.file is None else os.fspath(reload.source.file)
        names = [name for name in (file, admin.token_file, admin.tokens_file) if name is not None]
        if not names:
            return []
        seen = await trio.to_thread.run_sync(_stamps, names)
        if seen != self._seen:
            self._seen = seen
            self._found = [self._dated(each) for each in await self._read(file)]
        return self._found

    def _dated(self, found: Found) -> Found:
        """Found since the newest file was changed: what is half written is not told at once, all else is."""
        changed = [stamp[2] / NANO for stamp in self._seen if stamp is not None]
        if not changed:
            return found
        now = self._control.registry.now()
        return found._replace(since=now - max(0.0, self._control.wall(now) - max(changed)))

    async def _read(self, file: str | None) -> list[Found]:
        """A mistake in the tokens is not told as one in the configuration too, which names them."""
        of_tokens = of_file = None
        try:
            await trio.to_thread.run_sync(admin_token, self._control.config.admin)
        except ConfigError as exc:
            of_tokens = exc
        try:
            if file is not None and self._control.reload is not None:
                await self._control.reload.read()
        except ConfigError as exc:
            of_file = exc
        found = []
        if file is not None and of_file is not None and not _is_same(of_file, of_tokens):
            found.append(_of_the_file(of_file.first, file))
        if of_tokens is not None:
            found.append(_of_tokens(of_tokens.first))
        return found


def _of_the_file(why: str, file: str) -> Found:
    quoted = shlex.quote(file)
    return Found(
        "file",
        "configuration",
        what=clause("the file of the configuration ", HAS, " a mistake, and a restart ", WOULD_FAIL),
        why=why,
        advice=f"What runs is the former configuration. `lb config check {quoted}` shows every mistake.",
        lasts=False,
    )


def _of_tokens(why: str) -> Found:
    return Found(
        "file",
        "tokens",
        what=clause(
            "the file of tokens ",
            HAS,
            " a mistake, so the former tokens ",
            HOLD,
            ", and a restart ",
            WOULD_FAIL,
        ),
        why=why,
        advice="Mend it; it is read again when it changes.",
        lasts=False,
    )


def _is_same(of_file: ConfigError, of_tokens: ConfigError | None) -> bool:
    """Whether the file is blamed for what is wrong with the tokens that it names."""
    return of_tokens is not None and (of_file.mistakes or (str(of_file),)) == (str(of_tokens),)


def _stamps(names: Sequence[str]) -> Sequence[Stamp]:
    return [_stamp(name) for name in names]


def _stamp(file: str) -> Stamp:
    """What changes with the file; None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_ctime_ns
