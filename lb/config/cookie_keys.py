"""The keys that sign sticky cookies: read from the file that a pool names, or random.

A random key lives as long as the process, and is handed over in an upgrade; after a restart its cookies are
void.
"""

import secrets

from lb.config import secret_file
from lb.errors import ConfigError

KEY_BYTES = 32
SHORTEST_KEY = 16


class CookieKeys:
    """The keys of one balancer. Each file is read once. All its processes have the same `random_key`."""

    def __init__(self, random_key: bytes | None = None) -> None:
        self.random_key = random_key or secrets.token_bytes(KEY_BYTES)
        self._known: dict[str | None, bytes] = {None: self.random_key}

    def read(self, path: str | None) -> bytes:
        """The key in this file, or the random one for None; ConfigError if it is none, or open to others."""
        if path not in self._known:
            self._known[path] = _read(path or "")
        return self._known[path]


def _read(path: str) -> bytes:
    key = secret_file.read(path, f"sticky.secret_file: {path}").strip()
    if len(key) < SHORTEST_KEY:
        raise ConfigError(f"sticky.secret_file: {path} holds less than {SHORTEST_KEY} bytes")
    return key
