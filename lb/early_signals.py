"""Signals that come while the program starts: they are kept until it can heed them.

Python leaves most signals to the system, which ends the process, and the imports take longer than an
operator's script waits before its first `kill -HUP`. So `lb run` calls `keep` before it imports anything,
and whoever heeds signals asks `take` for those that came before. This module imports as little as it can.
"""

import signal
import sys
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

_came: list[int] = []


def keep_for_a_run() -> None:
    """Keep the signals of `lb run`; for any other command they do what they always do."""
    if sys.argv[1:2] == ["run"]:
        for number in (*ENDING, *OTHERS):
            signal.signal(number, _keep)


def _keep(number: int, _frame: FrameType | None) -> None:
    """Keep it. A second one that asks for the end gets it, for the start may have got stuck."""
    if number in ENDING and is_end_wished():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    _came.append(number)


def is_end_wished() -> bool:
    """Whether a signal has come that ends the program."""
    return not set(_came).isdisjoint(ENDING)


def take() -> list[int]:
    """Those that came so far, the first one first. They are kept no more."""
    taken = list(_came)
    _came.clear()
    return taken
