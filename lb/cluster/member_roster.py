"""Who there is in a cluster: the members, and those that are known and that nobody hears."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from lb.cluster.member import KNOWN, MEMBERS, STATUS, About, Status, forget
from lb.cluster.told_values import Kind, ToldValues
from lb.core.cluster_view import MemberView
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import EtcdFailed
from lb.etcd.prefix_follower import Pace

LOOK_SECONDS = 1.0


class Roster:
    """All balancers under the prefix. `follow` is the task that keeps `members` as they are, by name."""

    def __init__(self, etcd: Etcd, prefix: str, chance: Callable[[], float], pace: Pace) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._chance = chance
        self._pace = pace
        self._members = self._told(MEMBERS, About)

    @property
    def members(self) -> Mapping[str, About]:
        return self._members.values

    async def follow(self) -> None:
        """Until cancelled. While etcd is away the members stay as they are."""
        await self._members.follow()

    async def views(self, name: str, about: About, status: Status) -> list[MemberView]:
        """All of them by name, with what they say; this one, `name`, and the members where etcd is away."""
        abouts = {**self.members, name: about}
        told, known = dict[str, Status](), dict[str, About]()
        with trio.move_on_after(LOOK_SECONDS), suppress(EtcdFailed):
            told = await self._listed(STATUS, Status)
            known = await self._listed(KNOWN, About)
        told[name] = status
        lost = known.keys() - abouts.keys()
        everybody = known | abouts
        return [
            _view(each, everybody[each], told.get(each))._replace(is_self=each == name, is_lost=each in lost)
            for each in sorted(everybody)
        ]

    async def forget(self, name: str) -> bool:
        """Nobody has to wait for one that is lost any more. False where it is a member, or not known."""
        return name not in self.members and await forget(self._etcd, self._prefix, name)

    async def _listed(self, kind: str, struct: type[Kind]) -> dict[str, Kind]:
        """What the balancers have put under these keys, by name."""
        values = self._told(kind, struct)
        await values.list_once()
        return values.values

    def _told(self, kind: str, struct: type[Kind]) -> ToldValues[Kind]:
        return ToldValues(self._etcd, f"{self._prefix}{kind}", struct, self._chance, self._pace)


def _view(name: str, about: About, told: Status | None) -> MemberView:
    status = told if told is not None and told.instance == about.instance else None
    return MemberView(
        name=name,
        is_self=False,
        is_lost=False,
        version=about.version,
        admin=about.admin,
        config=about.config,
        secrets=about.secrets,
        applied=None if status is None else status.applied,
        left={} if status is None else status.left,
        down=() if status is None else status.down,
    )
