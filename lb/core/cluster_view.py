"""The cluster that a balancer belongs to, as its operator's side sees it.

`lb.cluster` offers `Together`; the operator's side uses it. A balancer without a cluster has `Alone`.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Literal, NamedTuple, NoReturn, Protocol

from lb.core.registry import Registry


class NotShared(Exception):
    """A change was not made, for etcd could not be asked. Nothing has changed."""


class MaybeShared(Exception):
    """It is not known whether a change was made: etcd was asked, and has not answered."""


class Overtaken(Exception):
    """Somebody else has changed what a wish was about, since it was applied here.

    `count` wishes of the same change were put before that, the last of them at `revision`.
    """

    def __init__(
        self,
        sentence: str = "another operator has changed this meanwhile",
        count: int = 0,
        revision: int = 0,
    ) -> None:
        super().__init__(sentence)
        self.count = count
        self.revision = revision


class DrainEverywhere(NamedTuple):
    """How far the drain of one backend is on all members of a cluster.

    `left` has the requests of those that still drain, by name, and `lost` names those that nobody has heard
    of, `otherwise` those that do not follow the wish: they may still use the backend. It is over when there
    is nobody to wait for, and `is_sure` when no member uses the backend any more.
    """

    members: int
    ended: int
    left: Mapping[str, int]
    lost: Sequence[str]
    otherwise: Sequence[str]
    is_over: bool
    is_sure: bool


class MemberView(NamedTuple):
    """One balancer. One that is lost is no member: nobody has heard of it, and it has not ended in order.

    `applied` is the revision until which it has done all wishes, None where it says nothing.

    `config` and `secrets` are digests of what it was configured with. `left` has the requests of drains that
    run there, `down` some of the backends that its probes see down.
    """

    name: str
    is_self: bool
    is_lost: bool
    version: str
    admin: str
    config: str
    secrets: str
    applied: int | None
    left: Mapping[str, int]
    down: Sequence[str]


class OwnWish(NamedTuple):
    """What this balancer alone has otherwise than the others: who wanted that, and since when (ISO 8601)."""

    pool: str
    backend_id: str
    wish: str
    by: str
    at: str


class Standing(NamedTuple):
    """How it is with this member.

    Times are of the registry's clock, None where there was no such moment. It follows etcd while `failure` is
    "". Nobody is served before the wishes are known (`is_known`). All wishes until `revision` are done here.
    `heard_at` is when etcd last said something, `is_heard` whether the others cannot have lost it. `members`
    are names, `configs` and `secrets` the digests that there are. `unfit` says of keys why their wish cannot
    be done here, `own` are the local overrides. Where etcd is another one than before, `held` says of keys
    why their wish here would be lost. `writes` counts changes by their end, `resyncs` the ends of watches by
    their reason.
    """

    name: str
    prefix: str
    failure: str
    is_known: bool
    revision: int
    newest: int
    heard_at: float | None
    is_heard: bool
    members: Sequence[str]
    configs: Sequence[str]
    secrets: Sequence[str]
    unfit: Mapping[str, str]
    held: Mapping[str, str]
    own: Sequence[OwnWish]
    writes: Mapping[str, int]
    resyncs: Mapping[str, int]
    leases_lost: int


Guard = Literal["keys", "pools", "all"]
"""What nobody else may have changed: the same backends and settings, anything in their pools, anything."""


class SharedChange(Protocol):
    """A change that has been tried on a rehearsal, and may be made on all balancers."""

    async def make(self, by: str, guard: Guard) -> int:
        """Make it, and return its revision once it is applied here; 0 where nothing differs.

        Overtaken where another operator was faster within the `guard`. NotShared, MaybeShared.
        """
        ...


class Together(Protocol):
    """The cluster of one balancer."""

    @property
    def is_shared(self) -> bool:
        """Whether there is a cluster at all."""
        ...

    @property
    def revision(self) -> int:
        """All wishes until this revision are done here."""
        ...

    async def rehearse(self, rehearsal: Registry, seen: int) -> SharedChange:
        """What will be changed in this copy, which was begun at the revision `seen`, is a change for all."""
        ...

    async def overtaken(self) -> None:
        """Wait until what was faster has arrived, or a moment."""
        ...

    async def drained(self, backend_id: str, revision: int, seconds: float) -> DrainEverywhere:
        """Wait for so long until the drain that was wished at this revision has ended everywhere.

        With 0 it is the newest one that is applied here.

        NotShared where it cannot be asked who there is.
        """
        ...

    def tag(self, pool: str, backend_id: str) -> str:
        """What differs when a wish of this backend has changed; the same on all members. "" without any."""
        ...

    def tag_of_all(self) -> str:
        """The same for all wishes and the configuration."""
        ...

    async def rehearse_own(self) -> "OwnChange":
        """What will be changed here from now on is a local override."""
        ...

    async def withdraw(self, pool: str, backend_id: str) -> bool:
        """Follow what the others wish of this backend again; False where it does. "" is the pool itself."""
        ...

    def own_wishes(self) -> Sequence[OwnWish]:
        """All local overrides."""
        ...

    def own_state(self) -> dict[str, str]:
        """The same for a program that takes over."""
        ...

    def own_wish(self, pool: str, backend_id: str) -> OwnWish | None:
        """The local override of this backend."""
        ...

    async def go_on(self, *, with_ours: bool) -> int:
        """etcd is another one than before, and wishes are held: follow it as it is, or put ours back first.

        How many wishes were lost, or put back. NotShared, MaybeShared.
        """
        ...

    async def members(self) -> Sequence[MemberView]:
        """All members, with what they say; only this one where etcd does not answer."""
        ...

    async def forget(self, name: str) -> bool:
        """A balancer that is lost sends no request any more, so nobody has to wait for it.

        False where there is no such balancer, or it is a member. NotShared.
        """
        ...

    def standing(self) -> Standing | None:
        """How it is with this member; None without a cluster."""
        ...

    def why_not_ready(self) -> str:
        """Why no traffic may be sent here, for want of a word of the cluster; "" where it may."""
        ...


class OwnChange(Protocol):
    """A change of this balancer alone."""

    async def made(self, by: str, backends: Container[str], pools: Container[str]) -> None:
        """It is made: remember in what of that this balancer differs from the others."""
        ...


class Alone:
    """No cluster."""

    is_shared: Literal[False] = False
    revision = 0

    async def rehearse(self, rehearsal: Registry, seen: int) -> NoReturn:
        raise NotShared("there is no cluster")

    async def overtaken(self) -> None:
        """Nobody was faster."""

    async def drained(self, backend_id: str, revision: int, seconds: float) -> NoReturn:
        raise NotShared("there is no cluster")

    def tag(self, pool: str, backend_id: str) -> str:
        return ""

    def tag_of_all(self) -> str:
        return ""

    async def rehearse_own(self) -> NoReturn:
        raise NotShared("there is no cluster")

    async def withdraw(self, pool: str, backend_id: str) -> bool:
        return False

    def own_wishes(self) -> Sequence[OwnWish]:
        return ()

    def own_state(self) -> dict[str, str]:
        return {}

    def own_wish(self, pool: str, backend_id: str) -> None:
        return None

    async def go_on(self, *, with_ours: bool) -> NoReturn:
        raise NotShared("there is no cluster")

    async def members(self) -> Sequence[MemberView]:
        return ()

    async def forget(self, name: str) -> NoReturn:
        raise NotShared("there is no cluster")

    def standing(self) -> None:
        return None

    def why_not_ready(self) -> str:
        return ""
