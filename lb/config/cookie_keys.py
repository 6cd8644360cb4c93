"""The keys with which cookies are signed: from the file that a pool's settings name, or made up.

A key that was made up is as old as the process, so its cookies mean nothing to the next one.
"""

import os
import secrets

from lb.errors import ConfigError

KEY_BYTES = 32
SHORTEST_KEY = 16


class Secrets:
    """The keys of one balancer, each read once."""

    def __init__(self) -> None:
        self._known: dict[str | None, bytes] = {None: secrets.token_bytes(KEY_BYTES)}

    def read(self, path: str | None) -> bytes:
        """The key in that file, or for None ours; ConfigError where it cannot be read or is short."""
        if path not in self._known:
            self._known[path] = _read(path or "")
        return self._known[path]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            key = file.read().strip()
    except OSError as exc:
        raise ConfigError(f"sticky.secret_file: {os.fspath(path)} cannot be read: {exc.strerror}") from exc
    if len(key) < SHORTEST_KEY:
        raise ConfigError(f"sticky.secret_file: {path} holds less than {SHORTEST_KEY} bytes")
    return key
