"""How a command can end: an exit code for scripts, one or two lines of text for people."""

from enum import IntEnum


class Code(IntEnum):
    """The exit code of a command."""

    DONE = 0
    FAILED = 1
    MISUSED = 2
    NOT_THERE = 3
    STILL_DRAINING = 4
    REFUSED = 5
    INTERRUPTED = 130


class Failed(Exception):
    """The command failed. The message says what was wrong and what to do; `code` is the exit code."""

    def __init__(self, message: str, code: Code = Code.FAILED) -> None:
        super().__init__(message)
        self.code = code
