"""What attempts show of the backends of a worker, on its way to the keeper, which decides.

The keeper counts failures in a row over all workers. So it is told of each failure, and then it lets all tell
it of their next success. Of each backend one message is on its way at a time: what is seen before the keeper
has considered that is told with the next one. So nothing waits for a clock, and the messages are bounded
however fast attempts fail.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from lb.core.backend import Backend
from lb.core.health.ejection import Cause
from lb.workers.messages import Shown


class Evidence:
    """The evidence of one worker (`lb.core.pool_health.Witness`). `tell` sends it to the keeper."""

    def __init__(self, tell: Callable[[Shown], None]) -> None:
        self._tell = tell
        self._later: dict[str, Shown | None] = {}

    def failed(self, backend: Backend, why: str) -> None:
        """One more attempt has failed in a row."""
        self.watch(backend)
        self._show(Shown(backend.id, backend.serial, failures=1, why=why))

    def turned(self, backend: Backend, cause: Cause | None, why: str) -> None:
        """What was seen here is enough to eject the backend for this cause, or to admit it."""
        self._show(Shown(backend.id, backend.serial, turns=True, cause=cause, why=why))

    def watch(self, backend: Backend) -> None:
        """Tell of the next attempt that goes well."""
        backend.outcomes.watch(partial(self._succeeded, backend))

    def _succeeded(self, backend: Backend) -> None:
        self._show(Shown(backend.id, backend.serial, succeeded=True))

    def _show(self, shown: Shown) -> None:
        if shown.backend in self._later:
            self._later[shown.backend] = _both(self._later[shown.backend], shown)
        else:
            self._later[shown.backend] = None
            self._tell(shown)

    def considered(self, backend_id: str) -> None:
        """The keeper has taken in what it was told of this backend."""
        later = self._later.pop(backend_id, None)
        if later is not None:
            self._show(later)


def _both(first: Shown | None, then: Shown) -> Shown:
    """One for two that were seen in this order."""
    if first is None or first.serial != then.serial:
        return then
    return msgspec.structs.replace(
        then,
        succeeded=first.succeeded or then.succeeded,
        failures=then.failures if then.succeeded else first.failures + then.failures,
        turns=first.turns or then.turns,
        cause=then.cause if then.turns else first.cause,
        why=then.why or first.why,
    )
