"""The streams of a command, which a daemon may lack, and a terminal may take away."""

import os
import sys


def replace_missing() -> None:
    """Open /dev/null as stdout and stderr where a daemon was started without them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process lives


def tell(text: str) -> None:
    """Write a message to stderr. A closed stderr is replaced, so that the program runs on."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        sys.stderr = None  # otherwise its flush at exit would fail
        replace_missing()


def flush_stderr() -> None:
    """Flush stderr. One that cannot be written, such as a terminal that is gone, must not fail the exit."""
    try:
        sys.stderr.flush()
    except OSError:
        sys.stderr = None
        replace_missing()
