"""The cancel scope around the exchanges of one client connection, and why it was cancelled.

An exchange has two directions, and each waits under a deadline of its own. `up` bounds the request: waiting
for the client to send and for the backend to take. `down` bounds the response: waiting for the backend to
answer and for the client to take. Code of one direction moves only the deadline of that direction. Both
cancel the same scope. So does `end`, with a reason from outside: a drain that cuts, a client that left, a
shutdown. After the scope, `verdict` says which of them it was.
"""

from typing import Protocol

import trio

from lb.errors import ClientStalled, LBError
from lb.net.timers import Deadline, Deadlines


class Owner(Protocol):
    """A client connection, which has no task while nothing needs one."""

    def call_task(self) -> None:
        """Start the task, unless there is one."""
        ...


class Guard:
    """The scope and the two deadlines of one client connection, which owns it.

    The owner's task calls `open`, awaits in that scope, then asks `verdict`; it calls `close` at its end.
    Steps of the exchange set the deadlines. `end` may be called from any task. What is cancelled before the
    first `open` has no scope yet: the owner's task is called, and finds its first scope cancelled.
    `is_cancelled` is true of the scope even if its task has not noticed: there was no checkpoint since.
    """

    __slots__ = ("_deadlines", "_owner", "_scope", "_up", "down", "is_cancelled", "why")

    def __init__(self, deadlines: Deadlines, owner: Owner | None = None) -> None:
        self._deadlines = deadlines
        self._owner = owner
        self._scope: trio.CancelScope | None = None
        self._up: Deadline | None = None
        self.down = Deadline(deadlines, self)
        self.is_cancelled = False
        self.why: LBError | None = None
        """The reason of the first `end` since `open`."""

    @property
    def up(self) -> Deadline:
        """The deadline of the request's direction.

        Made when it is first needed: most requests have no body.
        """
        if self._up is None:
            self._up = Deadline(self._deadlines, self)
        return self._up

    def open(self) -> trio.CancelScope:
        """A fresh scope, to be entered by the owner's task. Forgets why the last one was cancelled.

        Only outside the last scope, and after its `verdict` was asked. Deadlines that are set stay set.
        """
        is_first = self._scope is None
        scope = self._scope = trio.CancelScope()
        if not is_first:
            self.why, self.is_cancelled = None, False
            for deadline in (self.down, self._up):
                if deadline is not None:
                    deadline.struck = None
        elif self.is_cancelled:
            scope.cancel()
        return scope

    def rest(self) -> None:
        """Remove both deadlines: nothing is waited for.

        Called between attempts and before an error answer.
        """
        self.down.rest()
        if self._up is not None:
            self._up.rest()

    def end(self, why: LBError) -> None:
        """Cancel the scope for this reason. Further calls do nothing until the next `open`."""
        if self.why is None:
            self.why = why
            self.cancel()

    def cancel(self) -> None:
        """Cancel the scope, for the reason that was set before: by `end`, or by a deadline."""
        self.is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()
        elif self._owner is not None:
            self._owner.call_task()

    @property
    def client_stalled(self) -> bool:
        """The scope was cancelled because the client did not take what was sent."""
        return self.down.struck is ClientStalled

    def verdict(self) -> LBError | None:
        """Why the scope was cancelled; None for a deadline whose `error` was None: an idle connection ends.

        Asked by the owner after a cancelled scope.
        """
        if self.why is not None:
            return self.why
        for deadline in (self._up, self.down):
            if deadline is not None and deadline.struck is not None:
                return deadline.struck(deadline.struck.too_slow)
        return None

    def end_by(self, at: float) -> None:
        """End without an error at time `at`, or earlier. Only while the connection is idle."""
        self.down.error = None
        self.down.move(min(self.down.at, at))

    def close(self) -> None:
        """End both timers: the heap of `Deadlines` would keep them otherwise. The guard is of no use then."""
        self._owner = None
        self.down.cancel()
        if self._up is not None:
            self._up.cancel()
