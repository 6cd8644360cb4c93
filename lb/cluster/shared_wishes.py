"""What operators wish, as keys that all balancers of a cluster share.

    configuration, registry ──wished──> wishes by key ──encoded──> etcd
                                        wishes by key <──decode─── etcd

There is a key for each backend and each pool that is wished to differ from the configuration, as there is an
entry for it in the state file. A wish is the end that is desired, not a step on the way: `removed`, and how
long the drain may take before. So each balancer gets there by itself, at any time, from any state.

A wish is not deleted when it is as the configuration says again, so that it is a change for those who have
heard of the former one. That happens only when it has had no effect for long (`lb.cluster.sweeping`), or when
a person says so (`lb.cluster.another_history`).
"""

from collections.abc import Generator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from lb.config.decode import told
from lb.config.state_file import PoolChanges, comparing, patch_between
from lb.core.registry import Registry
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import PoolConfig
from lb.slices import at_once

BACKENDS = "wishes/backends/"
POOLS = "wishes/pools/"
EVERYWHERE = ""
"""In place of the name of a pool: in all of them."""
LONGEST_VALUE = 128 * 1024
"""Of a wish: twice of what the API takes."""
DEEPEST = 16
"""Levels of a patch; what is deeper is no setting of ours, and could not be walked through."""
TOO_DEEP = "it is nested too deep"


class Stamp(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Which change a wish is of, who made it, on which balancer, and when, as ISO 8601 has it.

    A key that has the `op` of a change shows that the change was made.
    """

    op: str = ""
    by: str = ""
    on: str = ""
    at: str = ""


class BackendWish(Stamp, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """What is wished of one backend of a pool; without anything it is as configured, and ready.

    `patch` is a merge patch (RFC 7396) of what is configured; `spec` is whole, of a backend that is not.
    `drain` are the seconds of the drain before it is `removed`, or in `maintenance`. Without them a backend
    is in maintenance at once, and the other drains take as long as they usually do. With `found` it is of one
    that a source names, now or later: the patch is of what the source says, and `removed` hides it.
    """

    admin_state: Literal["ready", "draining", "maintenance", "removed"] = "ready"
    drain: float | None = None
    patch: dict[str, Any] = {}
    spec: BackendSpec | None = None
    found: bool = False


class PoolWish(Stamp, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """What is wished of one pool: a merge patch of its configured settings."""

    settings: dict[str, Any] = {}


Wish = BackendWish | PoolWish
Wishes = Mapping[str, Wish]
"""By key, which is without the prefix of the cluster."""


class Applied(NamedTuple):
    """A wish as it was applied, the revision at which it was put, and its value in etcd."""

    wish: Wish
    revision: int
    value: bytes = b""


def backend_key(pool: str, backend_id: str) -> str:
    return f"{BACKENDS}{pool}/{backend_id}"


def pool_key(pool: str) -> str:
    return f"{POOLS}{pool}"


def key_of(pool: str, backend_id: str) -> str:
    """The key of the backend; "" is the pool itself."""
    return backend_key(pool, backend_id) if backend_id else pool_key(pool)


def named(key: str) -> tuple[str, str]:
    """The pool of a key, and the id of its backend, "" where the wish is of the pool."""
    if key.startswith(POOLS):
        return key.removeprefix(POOLS), ""
    pool, _, backend_id = key.removeprefix(BACKENDS).partition("/")
    return pool, backend_id


# -- what a registry shows of the wishes -----------------------------------------------------------------


def wished(
    configured: Mapping[str, PoolConfig], registry: Registry, drains: Mapping[str, float] | None = None
) -> dict[str, Wish]:
    """The wishes that make this registry of that configuration (each spec `checked`).

    `drains` has the seconds of drains, by id, of which the registry may show nothing any more.
    """
    return at_once(wishing(configured, registry, drains))


def wishing(
    configured: Mapping[str, PoolConfig], registry: Registry, drains: Mapping[str, float] | None = None
) -> Generator[None, None, dict[str, Wish]]:
    """`wished`, one backend with each step."""
    seconds = _running_drains(registry) | dict(drains or {})
    wishes: dict[str, Wish] = {}
    for name, change in (yield from comparing(configured, registry)).items():
        if change.settings:
            wishes[pool_key(name)] = PoolWish(settings=change.settings)
        specs = {spec.id: spec for spec in configured.get(name, PoolConfig()).backends}
        for backend_id, wish in _of_backends(change, specs, seconds).items():
            wishes[backend_key(name, backend_id)] = wish
            yield
    return wishes


def _of_backends(
    change: PoolChanges, configured: Mapping[str, BackendSpec], seconds: Mapping[str, float]
) -> dict[str, BackendWish]:
    wishes = {spec.id: BackendWish(spec=spec) for spec in change.added}
    for spec in change.changed:
        wishes[spec.id] = BackendWish(patch=patch_between(told(configured[spec.id]), told(spec)))
    for backend_id in change.removed:
        wishes[backend_id] = BackendWish(admin_state="removed", drain=seconds.get(backend_id))
    for backend_id, state in change.admin_state.items():
        wish = wishes.get(backend_id, BackendWish())
        wishes[backend_id] = msgspec.structs.replace(wish, admin_state=state, drain=seconds.get(backend_id))
    for backend_id, word in change.found.items():
        patch = msgspec.to_builtins(word.changed)
        wishes[backend_id] = BackendWish(
            admin_state=word.wish, drain=seconds.get(backend_id), patch=patch, found=True
        )
    for backend_id in change.hidden:
        wishes[backend_id] = BackendWish(admin_state="removed", drain=seconds.get(backend_id), found=True)
    return wishes


def _running_drains(registry: Registry) -> dict[str, float]:
    """How long each drain that runs may take in all."""
    return {
        backend.id: backend.drain.deadline - backend.drain.started
        for backend in registry.draining
        if backend.drain is not None and backend.drain.deadline != float("inf")
    }


def to_put(
    before: Wishes, after: Wishes, configured: Mapping[str, PoolConfig], drains: Mapping[str, float]
) -> dict[str, Wish]:
    """The wishes that are to be put, so that what was `wished` before becomes what is after."""
    put = {key: wish for key, wish in after.items() if not same(before.get(key), wish)}
    for key, wish in before.items():
        if key in after:
            continue
        back = taken_back(key, wish, configured, drains)
        if not same(wish, back):
            put[key] = back
    return put


def same(one: Wish | None, other: Wish | None) -> bool:
    """Whether they wish the same, whoever made them. How long the drain of what is gone took is nothing."""
    return one == other or _bare(one) == _bare(other)


def _bare(wish: Wish | None) -> Wish | None:
    if wish is None:
        return None
    bare = msgspec.structs.replace(wish, op="", by="", on="", at="")
    if isinstance(bare, BackendWish) and bare.admin_state == "removed":
        return BackendWish(admin_state="removed", found=bare.found)
    return bare


def taken_back(
    key: str, wish: Wish | None, configured: Mapping[str, PoolConfig], drains: Mapping[str, float]
) -> Wish:
    """The wish that nothing is as this one has it any more."""
    if isinstance(wish, BackendWish) and wish.found:
        return BackendWish(found=True)
    return as_configured(key, configured, drains)


def as_configured(key: str, configured: Mapping[str, PoolConfig], drains: Mapping[str, float]) -> Wish:
    """The wish that nothing differs from the configuration; what is not in it is to be removed."""
    pool, backend_id = named(key)
    if not backend_id:
        return PoolWish()
    if any(spec.id == backend_id for spec in configured.get(pool, PoolConfig()).backends):
        return BackendWish()
    return BackendWish(admin_state="removed", drain=drains.get(backend_id))


def in_words(wish: Wish) -> str:
    """What is wished, for people: the state, or the keys that differ."""
    if isinstance(wish, PoolWish):
        return f"settings: {', '.join(wish.settings)}"
    if wish.admin_state != "ready" or not (wish.patch or wish.spec):
        return wish.admin_state
    return "added" if wish.spec is not None else f"changed: {', '.join(wish.patch)}"


# -- as bytes --------------------------------------------------------------------------------------------


def encoded(wish: Wish, stamp: Stamp) -> bytes:
    """The value of its key, with who made it and when."""
    whole = msgspec.structs.replace(wish, op=stamp.op, by=stamp.by, on=stamp.on, at=stamp.at)
    return msgspec.json.encode(whole)


def decode(key: str, value: bytes) -> Wish:
    """The wish of a key. ValueError where this version cannot read all of it: half of a wish is none."""
    try:
        wish = _decode(key, value)
    except RecursionError as exc:
        raise ValueError(TOO_DEEP) from exc
    if _is_deeper(wish.settings if isinstance(wish, PoolWish) else wish.patch, DEEPEST):
        raise ValueError(TOO_DEEP)
    return wish


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return not levels or any(_is_deeper(each, levels - 1) for each in value.values())
    return isinstance(value, list) and (not levels or any(_is_deeper(each, levels - 1) for each in value))


def _decode(key: str, value: bytes) -> Wish:
    pool, backend_id = named(key)
    if key != key_of(pool, backend_id) or not pool:
        raise ValueError("it is the key of neither a backend nor a pool")
    if len(value) > LONGEST_VALUE:
        raise ValueError(f"it has {len(value)} bytes, and {LONGEST_VALUE} are the most")
    if not backend_id:
        return msgspec.json.decode(value, type=PoolWish)
    wish = msgspec.json.decode(value, type=BackendWish)
    if wish.spec is None:
        return wish
    if wish.patch:
        raise ValueError("it has both a spec and a patch")
    if (spec := wish.spec.checked()).id != backend_id:
        raise ValueError(f"its spec is of backend {spec.id!r}")
    return msgspec.structs.replace(wish, spec=spec)
