"""The keys of a live screen: read by a thread of their own, one at a time, while the screen waits for events.

The terminal is set so that a key comes without Enter and is not shown; it is set back at the end.
"""

import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread


@contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call `pressed` in another thread with each key until the block ends.

    Nothing where stdin is no terminal.
    """
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        Thread(target=_read, args=(fd, pressed), daemon=True).start()
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _read(fd: int, pressed: Callable[[str], None]) -> None:
    while key := os.read(fd, 1).decode("latin-1"):
        pressed(key)
