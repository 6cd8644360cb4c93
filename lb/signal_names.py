"""What ended a process, in words."""

import signal


def name_of(number: int) -> str:
    """The name of a signal; one of those that have none, as most real-time signals, has its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def how_it_ended(code: int) -> str:
    """Of a process with this code, which is negative where a signal has ended it."""
    return f"exit code {code}" if code >= 0 else name_of(-code)
