"""The cluster in JSON: its members, drains over all of them, and what one balancer has otherwise."""

import msgspec

from lb.control import Control
from lb.core.cluster_view import DrainEverywhere, MemberView, OwnWish


class DrainInCluster(msgspec.Struct, kw_only=True):
    """How far a drain is on all balancers: `ended` of so many `members` have ended it.

    `left` has the requests of the others, by name. `lost` have not been heard, and those that have it
    `otherwise` do not follow the wish: both may still use the backend. It is `over` when there is nobody to
    wait for any more, and `sure` that no balancer uses it once all have ended it.
    """

    members: int
    ended: int
    left: dict[str, int]
    lost: list[str]
    otherwise: list[str]
    over: bool
    sure: bool


class LocalOverride(msgspec.Struct, kw_only=True):
    """What this balancer alone wishes: `admin_state`, or `settings` of a pool; who wanted that, and when."""

    pool: str
    backend: str | None
    wish: str
    by: str
    at: str


class Member(msgspec.Struct, kw_only=True):
    """One balancer. One that is lost has not been heard, and has not ended in order: a drain waits for it.

    `applied` is the revision until which it has all wishes, null where it says nothing.

    `config` and `secrets` are digests; balancers whose digests differ are configured differently. `left` has
    the requests of drains that run there, by backend, `down` backends that its probes see down.
    """

    name: str
    is_self: bool
    is_lost: bool
    version: str
    admin: str
    config: str
    secrets: str
    applied: int | None
    left: dict[str, int]
    down: list[str]


class ClusterView(msgspec.Struct, kw_only=True):
    """The cluster as this balancer sees it.

    Without a cluster `name` is null, and there is nothing else. `failure` says why etcd is not followed, null
    while it is; `age_seconds` is how long ago it was last heard, null for never. All wishes until `revision`
    are done here, `newest` is the newest of them. `heard` says that the others cannot have lost this one.
    `unfit` has wishes that cannot be done here, by key, with the reason. `held` has those that are missing in
    an etcd that was wiped or restored, until /cluster/restore or /cluster/accept.
    """

    name: str | None
    prefix: str = ""
    failure: str | None = None
    age_seconds: float | None = None
    revision: int = 0
    newest: int = 0
    heard: bool = False
    configs_differ: bool = False
    secrets_differ: bool = False
    members: list[Member] = []
    unfit: dict[str, str] = {}
    held: dict[str, str] = {}
    local: list[LocalOverride] = []


def drain_in_cluster(drain: DrainEverywhere) -> DrainInCluster:
    return DrainInCluster(
        members=drain.members,
        ended=drain.ended,
        left={**drain.left},
        lost=[*drain.lost],
        otherwise=[*drain.otherwise],
        over=drain.is_over,
        sure=drain.is_sure,
    )


def local_override(control: Control, pool: str, backend_id: str) -> LocalOverride | msgspec.UnsetType:
    """What this balancer alone has otherwise of this backend."""
    own = control.cluster.own_wish(pool, backend_id)
    return msgspec.UNSET if own is None else _override(own)


async def cluster_view(control: Control) -> ClusterView:
    """All of it; the members are asked for."""
    members = await control.cluster.members()
    standing = control.cluster.standing()
    if standing is None:
        return ClusterView(name=None)
    heard_at = standing.heard_at
    return ClusterView(
        name=standing.name,
        prefix=standing.prefix,
        failure=standing.failure or None,
        age_seconds=None if heard_at is None else round(control.registry.now() - heard_at, 3),
        revision=standing.revision,
        newest=standing.newest,
        heard=standing.is_heard,
        configs_differ=len(standing.configs) > 1,
        secrets_differ=len(standing.secrets) > 1,
        members=[_member(each) for each in members],
        unfit={**standing.unfit},
        held={**standing.held},
        local=[_override(each) for each in standing.own],
    )


def _member(member: MemberView) -> Member:
    return Member(**{**member._asdict(), "left": {**member.left}, "down": [*member.down]})


def _override(own: OwnWish) -> LocalOverride:
    return LocalOverride(pool=own.pool, backend=own.backend_id or None, wish=own.wish, by=own.by, at=own.at)
