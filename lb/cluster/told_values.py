"""What all members tell under one prefix, each in a key of its name, as it is now."""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import trio

from lb.cluster.member import UNREADABLE
from lb.etcd.back_off import BackOff
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import EtcdFailed
from lb.etcd.etcd_messages import KeyValue
from lb.etcd.prefix_follower import Follower, Pace
from lb.etcd.prefix_mirror import Difference, Mirror
from lb.slices import at_once

Kind = TypeVar("Kind", bound=msgspec.Struct)


class ToldValues(Generic[Kind]):
    """The values of all keys with a prefix, by what follows it; those that cannot be read are left out."""

    def __init__(
        self, etcd: Etcd, prefix: str, kind: type[Kind], chance: Callable[[], float], pace: Pace
    ) -> None:
        self.values: dict[str, Kind] = {}
        self.mirror = Mirror(prefix.encode())
        self.changed: Callable[[], None] = lambda: None
        self._etcd = etcd
        self._kind = kind
        self._chance = chance
        self._follower = Follower(etcd, self.mirror, self._take, chance=chance, pace=pace)

    async def follow(self) -> None:
        """Until cancelled. While etcd is away the values stay as they are."""
        back_off = BackOff(self._chance)
        while True:
            try:
                await self._follower.run()
            except EtcdFailed:
                await trio.sleep(back_off.pause())

    async def list_once(self) -> None:
        """The values as they are now, without following them. EtcdFailed where they cannot be had."""
        header, keys = await self._etcd.listing(self.mirror.prefix)
        self._take(at_once(self.mirror.listing(header, keys)))

    def _take(self, difference: Difference) -> None:
        for kv in difference.put:
            name = self._name(kv.key)
            try:
                self.values[name] = self.read(kv)
            except UNREADABLE:
                self.values.pop(name, None)
        for key in difference.gone:
            self.values.pop(self._name(key), None)
        self.changed()

    def read(self, kv: KeyValue) -> Kind:
        """The value of this key. ValueError where it is none."""
        return msgspec.json.decode(kv.value, type=self._kind)

    def _name(self, key: bytes) -> str:
        return key.removeprefix(self.mirror.prefix).decode(errors="replace")
