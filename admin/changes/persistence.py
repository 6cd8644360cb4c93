"""A change is saved before it is answered, so that the answer can say whether a restart would keep it."""

import trio

from admin.protocol.problems import Problem
from lb.control import Control

SAVE_SECONDS = 10.0


async def save(control: Control) -> bool:
    """Write the changes to the state file, even if the client has left; False where there is no such file.

    500 (not-persisted) where it cannot be written: the change holds in memory only.
    """
    try:
        with trio.fail_after(SAVE_SECONDS, shield=True):
            return await control.save()
    except (OSError, trio.TooSlowError) as exc:
        why = exc if isinstance(exc, OSError) else "it took too long"
        detail = f"The change holds in memory; the state file could not be written: {why}"
        raise Problem("not-persisted", detail) from exc
