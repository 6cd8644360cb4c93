"""A log file, which is opened again when a log rotation has moved it away."""

import os

from lb.errors import ConfigError

KEY = "access_log.file"
MODE = 0o640
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY


class LogFile:
    """A file that lines are appended to. Its owner closes it. Everything here blocks.

    `fd` is the descriptor to write to. Raises ConfigError, which names the key, where it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.fd = os.open(path, FLAGS, MODE)
        except OSError as exc:
            raise _cannot(path, exc) from exc

    def reopen(self) -> None:
        """Write to what has the name now: the file that a rotation has made (`create`), or a new one.

        A folder that has vanished is made again. OSError where it cannot be opened; `fd` is as before then.
        """
        if folder := os.path.dirname(self.path):
            os.makedirs(folder, exist_ok=True)
        fd, self.fd = self.fd, os.open(self.path, FLAGS, MODE)
        os.close(fd)

    def close(self) -> None:
        os.close(self.fd)


def check(path: str) -> None:
    """ConfigError where this file could not be opened. It makes no file."""
    try:
        os.close(os.open(path, FLAGS & ~os.O_CREAT))
    except FileNotFoundError as exc:
        if not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK):
            raise _cannot(path, exc) from exc
    except OSError as exc:
        raise _cannot(path, exc) from exc


def _cannot(path: str, exc: OSError) -> ConfigError:
    return ConfigError(f"{KEY}: {path} cannot be opened for writing: {exc.strerror}")
