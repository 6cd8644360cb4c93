"""The keys with a prefix as etcd has them: what was listed, and the events since then. Pure.

    listed (whole, at one revision) -> events -> events ... -> listed again

A mirror never resumes: after the end of a watch it is listed again, and what differs from before is what has
happened meanwhile. It outlives that end, because it also knows which etcd it mirrors. From one whose data
were wiped, or from another cluster, it takes nothing until it is told to.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

from lb.etcd.etcd_failed import AnotherEtcd
from lb.etcd.etcd_messages import Event, Header, KeyValue


class Difference(NamedTuple):
    """What has changed: the keys that were put, in order, and those that are gone."""

    put: tuple[KeyValue, ...] = ()
    gone: tuple[bytes, ...] = ()


class Mirror:
    """The keys with `prefix`. Those of an empty mirror are none at revision 0.

    `revision` is that of the newest change that it has; all changes of these keys until then are in it.
    `cluster_id` is that of the etcd which it mirrors, 0 while that may be any.
    """

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.revision = 0
        self.cluster_id = 0
        self._keys: dict[bytes, KeyValue] = {}
        self._listed_at = 0

    @property
    def keys(self) -> Mapping[bytes, KeyValue]:
        """All keys as they are, in no order."""
        return self._keys

    @property
    def is_listed(self) -> bool:
        """Whether it has been listed at all."""
        return self._listed_at > 0

    @property
    def newest(self) -> int:
        """The highest revision among the keys that are there; 0 where there is none."""
        return max((kv.mod_revision for kv in self._keys.values()), default=0)

    def take_over(self, cluster_id: int, revision: int, keys: Iterable[KeyValue] = ()) -> None:
        """These were the keys of that etcd at that revision, and the next list is compared with them.

        Without keys: follow that etcd from there on, whatever was mirrored before. Not while it is listed.
        """
        self._keys = {kv.key: kv for kv in keys}
        self.cluster_id, self.revision, self._listed_at = cluster_id, revision, 0

    def listing(self, header: Header, keys: Sequence[KeyValue]) -> Generator[None, None, Difference]:
        """These are all keys at the header's revision. One is compared with each step; they hold at the end.

        AnotherEtcd, and no change, if they cannot be.
        """
        self.recognise_since(header, self.revision)
        left, now, put = dict(self._keys), dict[bytes, KeyValue](), list[KeyValue]()
        for kv in keys:
            yield
            there = left.pop(kv.key, None)
            if self._is_new(kv, there, header):
                put.append(kv)
            now[kv.key] = kv
        for kv in left.values():
            yield
            if kv.mod_revision >= header.revision:  # to be deleted takes a revision more
                raise _another(f"a key is gone that was put at revision {kv.mod_revision}", header)
        self._keys = now
        self.revision = self._listed_at = header.revision
        self.cluster_id = header.cluster_id
        return Difference(tuple(put), tuple(left))

    def heard(self, events: Iterable[Event]) -> Difference:
        """These have happened since. What it has already, or is older than its list, changes nothing."""
        put, gone = dict[bytes, KeyValue](), dict[bytes, None]()
        for event in events:
            if self._is_old(event.kv):
                continue
            key = event.kv.key
            self.revision = max(self.revision, event.kv.mod_revision)
            if event.type == "PUT":
                self._keys[key] = put[key] = event.kv
                gone.pop(key, None)
            elif self._keys.pop(key, None) is not None:
                gone[key] = None
                put.pop(key, None)
        return Difference(tuple(put.values()), tuple(gone))

    def recognise(self, header: Header) -> None:
        """AnotherEtcd if the header is not of the etcd that is mirrored."""
        if self.cluster_id not in (0, header.cluster_id):
            raise AnotherEtcd(
                f"it is cluster {header.cluster_id:x}, and was cluster {self.cluster_id:x} before",
                header.cluster_id,
                header.revision,
            )

    def recognise_since(self, header: Header, revision: int) -> None:
        """The same of an answer to what was asked when it was known that this revision has been."""
        self.recognise(header)
        if header.revision < revision:
            raise _another(f"it is at revision {header.revision}, and was at {revision} before", header)

    def agrees(self, revision: int, count: int, newest: int) -> bool:
        """Whether there may be `count` keys at `revision`, the newest of which was put at `newest`.

        Where not, something has not been heard: it is under way or lost.
        """
        if self.revision > revision:
            return True  # it has heard what happened later
        return len(self._keys) == count and self.newest == newest

    def _is_new(self, kv: KeyValue, there: KeyValue | None, header: Header) -> bool:
        """Whether a listed key has changed. AnotherEtcd where one history cannot have it and what was there.

        An event may have been lost, but not a part of a list.
        """
        if there is not None:
            return _has_changed(kv, there, header)
        if kv.mod_revision <= self._listed_at:
            why = f"a key was put at revision {kv.mod_revision}, and not listed at {self._listed_at} before"
            raise _another(why, header)
        return True

    def _is_old(self, kv: KeyValue) -> bool:
        there = self._keys.get(kv.key)
        known = self._listed_at if there is None else max(self._listed_at, there.mod_revision)
        return kv.mod_revision <= known


def _has_changed(kv: KeyValue, there: KeyValue, header: Header) -> bool:
    if kv.mod_revision > there.mod_revision:
        return True
    if kv.mod_revision < there.mod_revision:
        why = f"a key was changed at revision {kv.mod_revision}, and at {there.mod_revision} before"
        raise _another(why, header)
    if kv.value != there.value:
        raise _another(f"a key that was put at revision {kv.mod_revision} had another value before", header)
    return False


def _another(what: str, header: Header) -> AnotherEtcd:
    return AnotherEtcd(f"{what}: its data were wiped or restored", header.cluster_id, header.revision)
