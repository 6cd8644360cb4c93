"""The cancel scope around the exchanges of one owner, and why it was cancelled.

An exchange has two directions, and each waits under a deadline of its own: `up` towards the backend (the
client sends too slowly, or the backend does not take), `down` towards the client (the backend does not answer
or go on, or the client does not take). Neither direction ever moves the other's. Both cancel the same scope,
as does `end` with a reason from outside: a drain that cuts, a client that left, a shutdown. Behind the scope
`verdict` says which of them it was.
"""

import trio

from lb.errors import LBError
from lb.net.timers import Deadline, Deadlines


class Guard:
    """One per client connection or stream; its owner opens a scope, and closes the guard at the end."""

    __slots__ = ("_deadlines", "_scope", "_up", "down", "why")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._scope = trio.CancelScope()
        self._up: Deadline | None = None
        self.down = Deadline(deadlines, self._scope)
        self.why: LBError | None = None
        """The reason that `end` was given first."""

    @property
    def up(self) -> Deadline:
        """The deadline towards the backend, made when it is first needed: most requests have no body."""
        if self._up is None:
            self._up = Deadline(self._deadlines, self._scope)
        return self._up

    def open(self) -> trio.CancelScope:
        """A fresh scope for what is awaited from now on; why the last one was cancelled is forgotten."""
        self.why = None
        self._scope = trio.CancelScope()
        for deadline in (self.down, self._up):
            if deadline is not None:
                deadline.scope, deadline.has_struck = self._scope, False
        return self._scope

    def rest(self) -> None:
        """Nothing is waited for: both deadlines are off."""
        self.down.rest()
        if self._up is not None:
            self._up.rest()

    def end(self, why: LBError) -> None:
        """Cancel the scope, with this reason; the first reason stays."""
        if self.why is None:
            self.why = why
            self._scope.cancel()

    @property
    def is_cancelled(self) -> bool:
        return self._scope.cancel_called

    def verdict(self) -> LBError | None:
        """Why the scope was cancelled; None where a deadline struck that meant a quiet end."""
        if self.why is not None:
            return self.why
        for deadline in (self._up, self.down):
            if deadline is not None and deadline.has_struck and deadline.error is not None:
                return deadline.error(deadline.error.too_slow)
        return None

    def end_by(self, at: float) -> None:
        """End quietly at this time at the latest."""
        self.down.error = None
        self.down.move(min(self.down.at, at))

    def close(self) -> None:
        """Cancel the timers, or the heap of deadlines would hold them until their time."""
        self.down.cancel()
        if self._up is not None:
            self._up.cancel()
