"""What a pool keeps ready about its backends from one change to the next, so that no request works it out."""

from collections.abc import Sequence

from lb.core.backend import AdminState, Backend
from lb.core.passed_over import NONE_PASSED_OVER, PassedOver


class Roster:
    """Made with one look at each backend; wrong as soon as one of them, or the set, has changed.

    `open` are the backends that may take requests, `draining` those that may keep clients of their own.
    `has_caps`: one of the open ones may be full. `out` is what is passed over for every request.
    """

    __slots__ = ("draining", "has_backups", "has_caps", "open", "out")

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.open = [backend for backend in backends if backend.shut is None]
        self.has_caps = any([backend.cap is not None for backend in self.open])
        self.has_backups = any([backend.spec.backup for backend in self.open])
        self.draining: list[Backend] = []
        self.out = NONE_PASSED_OVER
        if len(self.open) < len(backends):
            shut = [backend for backend in backends if backend.shut is not None]
            self.draining = [backend for backend in shut if backend.admin_state is AdminState.DRAINING]
            self.out = PassedOver(tuple([backend.shut for backend in shut if backend.shut is not None]))
