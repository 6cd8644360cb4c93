"""Writing a change down before it is answered, so that the answer can say whether a restart would keep it."""

import trio

from admin.protocol.problems import Problem
from lb.control import Control

SAVE_SECONDS = 10.0


async def save(control: Control) -> bool:
    """Write the change down, even for a client that has left; whether there is a file to write it to."""
    try:
        with trio.fail_after(SAVE_SECONDS, shield=True):
            return await control.save()
    except (OSError, trio.TooSlowError) as exc:
        why = exc if isinstance(exc, OSError) else "it took too long"
        detail = f"The change holds in memory; the state file could not be written: {why}"
        raise Problem("not-persisted", detail) from exc
