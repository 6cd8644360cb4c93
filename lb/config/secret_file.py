"""Files that hold a secret: tokens, and the keys of cookies. All obey the same rule.

No other user may be able to read such a file or change it, so that a secret that is none shows at once.
"""

import os
import stat

from lb.errors import ConfigError

BY_OTHERS = stat.S_IWGRP | stat.S_IRWXO
LONGEST = 1 << 20


def read(path: str, where: str) -> bytes:
    """What is in the file. It blocks, but not on a pipe.

    ConfigError, which `where` begins, where it cannot be read, is too long, or others could read or change
    it.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # else opening a pipe blocks
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{where} is not a regular file")
            if (why := objection(path, mode)) is not None:
                raise ConfigError(f"{where} {why}")
            data = file.read(LONGEST + 1)
    except OSError as exc:
        raise ConfigError(f"{where} cannot be read: {exc.strerror}") from exc
    if len(data) > LONGEST:  # ignoring the rest would lose a part of the secret silently
        raise ConfigError(f"{where} is larger than {LONGEST} bytes")
    return data


def objection(path: str, mode: int) -> str | None:
    """Why a file of this mode holds no secret, or None."""
    return f"can be read or changed by others: chmod 600 {path}" if mode & BY_OTHERS else None


def is_sendable(token: str) -> bool:
    """Whether a client can send this token in a field: one word of visible ASCII characters."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token
