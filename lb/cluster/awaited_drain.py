"""A drain that is awaited over all members of a cluster: who has ended it, who may not have. Pure.

Who counts are the members at the revision of the wish. Each says by its status that it has applied it, and
how many requests are left. One whose key has vanished may be dead, or only unheard; it is waited for until it
has been away for a whole further TTL, so that by its own clock it knows as well that it is lost. What it does
then nobody can say, and so the answer is not sure.
"""

from collections.abc import Mapping
from enum import StrEnum

from lb.cluster.member import About, Status


class Standing(StrEnum):
    """How one member stands to the drain: it has yet to end it, has ended it, has not been heard,
    or has the backend otherwise: by a local override, or because the wish cannot be done there."""

    DRAINS = "drains"
    ENDED = "ended"
    LOST = "lost"
    OTHERWISE = "otherwise"


class AwaitedDrain:
    """The drain of one backend, wished at `revision`, by the members that there were then.

    Times are on one clock of the process that waits.
    """

    def __init__(self, backend_id: str, revision: int, members: Mapping[str, About], ttl: float) -> None:
        self.backend_id = backend_id
        self.revision = revision
        self.left: dict[str, int] = {}
        """How many requests members that drain have said are left, by name."""
        self._instances = {name: about.instance for name, about in members.items()}
        self._ttl = ttl
        self._absent: dict[str, float] = {}
        self._standings = dict.fromkeys(members, Standing.DRAINS)

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How each member stands, by name."""
        return self._standings

    @property
    def is_over(self) -> bool:
        """Whether there is nobody to wait for any more."""
        return Standing.DRAINS not in self._standings.values()

    @property
    def is_sure(self) -> bool:
        """Whether no member sends a request to the backend any more."""
        return all(standing is Standing.ENDED for standing in self._standings.values())

    @property
    def lost(self) -> list[str]:
        """The members that may still use the backend, since nobody has heard of them."""
        return [name for name, standing in self._standings.items() if standing is Standing.LOST]

    @property
    def otherwise(self) -> list[str]:
        """The members that do not follow the wish, and may still use the backend."""
        return [name for name, standing in self._standings.items() if standing is Standing.OTHERWISE]

    def look(self, members: Mapping[str, About], statuses: Mapping[str, Status], now: float) -> float | None:
        """So it is now. Returns when to look again though nothing may have changed, or None."""
        for name, instance in self._instances.items():
            if self._standings[name] is Standing.ENDED:
                continue
            there = members.get(name)
            is_there = there is not None and there.instance == instance
            self._standings[name] = self._standing(name, is_there, statuses.get(name), now)
        return min((since + self._ttl for since in self._waited_for()), default=None)

    def _standing(self, name: str, is_there: bool, status: Status | None, now: float) -> Standing:
        if status is not None and self._has_applied(name, status):
            if self.backend_id in status.otherwise:
                return Standing.OTHERWISE
            if self.backend_id not in status.left:
                self.left.pop(name, None)
                self._absent.pop(name, None)
                return Standing.ENDED
            self.left[name] = status.left[self.backend_id]
        if is_there:
            self._absent.pop(name, None)
            return Standing.DRAINS
        since = self._absent.setdefault(name, now)
        return Standing.LOST if now - since >= self._ttl else Standing.DRAINS

    def _has_applied(self, name: str, status: Status) -> bool:
        return status.instance == self._instances[name] and status.applied >= self.revision

    def _waited_for(self) -> list[float]:
        """Since when those are away that are still waited for."""
        return [since for name, since in self._absent.items() if self._standings[name] is Standing.DRAINS]
