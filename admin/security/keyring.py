"""The tokens that are accepted: the single token of the service, and those of a file that may change.

Where a token or a file is configured, every request needs a token, even if the file cannot be read later. A
file that cannot be read, or that has a mistake, is logged, and the tokens read before stay valid.
"""

import hmac
import os
from collections.abc import Callable, Collection, Iterable
from math import inf

import structlog
import trio

from lb.config import tokens
from lb.config.token_scope import Scope
from lb.config.tokens import Token
from lb.errors import ConfigError

LOOK_SECONDS = 1.0
SINGLE = "admin"
ANONYMOUS_ADMIN = Token("anonymous", Scope.ADMIN, b"")
"""Of every request, where no token is needed."""
ANONYMOUS_READER = Token("anonymous", Scope.READ, b"")
"""Of a request without a token, where one is needed; only open operations get it."""

Stamp = tuple[int, ...]

log = structlog.get_logger()


class Keyring:
    """The accepted tokens. `single` has the scope `admin`; `file` names a file with others.

    It may be made in a thread, and reads the file.
    """

    def __init__(self, single: str | None, file: str | None, now: Callable[[], float]) -> None:
        self._single = () if single is None else (Token(SINGLE, Scope.ADMIN, tokens.digest(single)),)
        self._file, self._now = file, now
        self._others: tuple[Token, ...] = ()
        self._stamp: Stamp | None = None
        self._look_at = -inf
        if file is not None:
            self._look(file)

    @property
    def is_needed(self) -> bool:
        """Whether a request needs a token."""
        return bool(self._single) or self._file is not None

    def find(self, given: str) -> Token | None:
        """The token with this text. All are compared, so the time tells nothing about any of them."""
        wanted = tokens.digest(given)
        found = [each for each in self._known() if hmac.compare_digest(each.digest, wanted)]
        return found[0] if found else None

    def of_certificate(self, owners: Collection[str]) -> Token | None:
        """The first one that is for any of these owners of a certificate, which OpenSSL has found good."""
        return next((each for each in self._known() if each.owner and each.owner in owners), None)

    def _known(self) -> Iterable[Token]:
        return *self._single, *self._others

    async def refresh(self) -> None:
        """Read the file again if it has changed; it is looked at once in LOOK_SECONDS at most."""
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
    """A value that changes with the file; () where there is no file."""
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode
