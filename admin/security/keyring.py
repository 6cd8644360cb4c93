"""Whose token is this? The tokens of the file and the one of the whole operator's side, kept up to date.

Once something is said of tokens nobody comes in without one, whatever becomes of the file. A file that cannot
be read, or that holds a mistake, is logged, and those who were known before are known still.
"""

import hmac
import os
from collections.abc import Callable, Iterable

import structlog
import trio

from lb.config import tokens
from lb.config.token_scope import Scope
from lb.config.tokens import Token
from lb.errors import ConfigError

LOOK_SECONDS = 1.0
SINGLE = "admin"
ANYBODY = Token("anonymous", Scope.ADMIN, b"")
NOBODY = Token("anonymous", Scope.READ, b"")

Stamp = tuple[int, ...]

log = structlog.get_logger()


class Keyring:
    """The tokens that are taken; `single` is one for everything, `file` has others."""

    def __init__(self, single: str | None, file: str | None, now: Callable[[], float]) -> None:
        self._single = () if single is None else (Token(SINGLE, Scope.ADMIN, tokens.digest(single)),)
        self._file, self._now = file, now
        self._others: tuple[Token, ...] = ()
        self._stamp: Stamp | None = None
        self._look_at = now() + LOOK_SECONDS
        if file is not None:
            self._look(file)

    @property
    def is_needed(self) -> bool:
        """Somebody without a token may not come in."""
        return bool(self._single) or self._file is not None

    def find(self, given: str) -> Token | None:
        """Whose token it is. Each is compared, so the time that it takes says nothing about any of them."""
        wanted = tokens.digest(given)
        found = [each for each in self._known() if hmac.compare_digest(each.digest, wanted)]
        return found[0] if found else None

    def _known(self) -> Iterable[Token]:
        return *self._single, *self._others

    async def refresh(self) -> None:
        """Read the file again if it has changed; to be called as often as one likes."""
        if self._file is None or self._now() < self._look_at:
            return
        self._look_at = self._now() + LOOK_SECONDS
        await trio.to_thread.run_sync(self._look, self._file)

    def _look(self, file: str) -> None:
        stamp = _stamp(file)
        if stamp == self._stamp:
            return
        try:
            self._others = tokens.read(file)
            log.info("tokens read", file=file, names=[token.name for token in self._others])
        except ConfigError as exc:
            log.error("tokens not read, those from before are taken still", why=str(exc))
        self._stamp = stamp


def _stamp(file: str) -> Stamp:
    """What changes with the file; () where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
