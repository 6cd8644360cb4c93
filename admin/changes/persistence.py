"""A change is saved before it is answered, so that the answer can say whether a restart would keep it.

With several workers it is applied by all of them before it is answered. Where one could not, the answer is an
error that says which, and why; the others have it.

In a cluster the change was made to a copy. To save it is to make it on all balancers; from then on it is in
the registry of this one, where the answer finds it.
"""

from typing import NamedTuple

import trio

from admin.protocol.problems import Problem
from lb.control import Control, Sharing
from lb.core.backend import Backend

SAVE_SECONDS = 10.0
TOO_LATE = "another program takes over from this one; ask again, and it will answer"


class Saved(NamedTuple):
    """A change that was made: `control` has it now, and a restart keeps it if `is_kept`.

    `revision` is that of the cluster, 0 where nothing was different, and None without a cluster.
    """

    control: Control
    is_kept: bool
    revision: int | None = None

    def there(self, backend: Backend) -> Backend | None:
        """The backend that was changed, as it is here now; None where it has gone meanwhile."""
        return backend if self.revision is None else self.control.registry.backends.get(backend.id)

    def still(self, backend: Backend) -> Backend:
        """As `there`; 409 where it has gone."""
        there = self.there(backend)
        if there is None:
            raise Problem("conflict", f"backend {backend.id!r} was removed meanwhile")
        return there


async def save(control: Control) -> Saved:
    """Write the changes to the state file, even if the client has left, or share them with the cluster.

    500 (not-persisted) where the file cannot be written: the change holds in memory only. 409 where another
    program takes over meanwhile, which does not know of the change.
    """
    if control.is_handing_over:
        raise Problem("conflict", TOO_LATE)
    if control.sharing is not None:
        return await _shared(control.sharing)
    return Saved(control, await _written(control))


async def _shared(sharing: Sharing) -> Saved:
    revision = await sharing.change.make(sharing.by, sharing.guard)
    return Saved(sharing.original, True, revision)


async def _written(control: Control) -> bool:
    try:
        with trio.fail_after(SAVE_SECONDS, shield=True):
            return await control.save()
    except (OSError, trio.TooSlowError) as exc:
        why = exc if isinstance(exc, OSError) else "it took too long"
        detail = f"The change holds in memory; the state file could not be written: {why}"
        raise Problem("not-persisted", detail) from exc


def check_everywhere(control: Control, what: str) -> None:
    """500 where a worker goes on with this as it was. Once the change was saved."""
    behind = [str(each) for each in control.workers.behind() if each.what == what]
    if behind:
        raise Problem("not-everywhere", "; ".join(behind))
