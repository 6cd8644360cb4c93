"""The addresses of the targets of SRV records.

Those that the name server has sent along with the records are taken; the others are asked for, some at a
time, and again when they no longer count. A target that cannot be resolved keeps its last addresses, since a
failure says nothing about the target.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import trio

from lb.discovery.backend_source import SourceFailed
from lb.discovery.dns_message import Kind, Record
from lb.discovery.dns_servers import NameServers

LOOKUPS = 10
"""How many of them are asked for at a time."""
ALL_SECONDS = 20.0
"""Longest wait for all of them together."""
RETRY_SECONDS = 5.0
"""How soon one is asked for again that could not be resolved."""

Key = tuple[bytes, Kind]


class Known(NamedTuple):
    """The last addresses of one family, until when they count, and why there are no newer ones."""

    addresses: Sequence[bytes]
    until: float
    trouble: str | None = None


class Targets:
    """Keeps the addresses of each target that there was the last time."""

    def __init__(self, servers: NameServers, kinds: Sequence[Kind]) -> None:
        self._servers = servers
        self._kinds = kinds
        self._known: dict[Key, Known] = {}

    def addresses(self, target: bytes) -> list[bytes]:
        """What is known of it, perhaps nothing."""
        return [*chain(*(self._known[target, kind].addresses for kind in self._kinds))]

    def trouble(self, target: bytes) -> str | None:
        """Why it could not be resolved the last time; None where it was."""
        troubles = (self._known[target, kind].trouble for kind in self._kinds)
        return next((trouble for trouble in troubles if trouble is not None), None)

    @property
    def until(self) -> float:
        """When the first of them is to be asked for again."""
        return min((known.until for known in self._known.values()), default=float("inf"))

    async def look_up(self, targets: Collection[bytes], beside: Iterable[Record], *, all_anew: bool) -> None:
        """Know these targets and no others. `all_anew` asks for those too that still count."""
        told = self._tell(beside)
        wanted = [(target, kind) for target in targets for kind in self._kinds]
        now = trio.current_time()
        missing = Known((), now, "it was not asked for: others took too long")
        self._known = {key: self._known.get(key, missing) for key in wanted}
        due = [key for key in wanted if key not in told and (all_anew or self._known[key].until <= now)]
        left = iter(due)
        with trio.move_on_after(ALL_SECONDS):
            async with trio.open_nursery() as nursery:
                for _ in range(min(LOOKUPS, len(due))):
                    nursery.start_soon(self._ask_each, left)

    def _tell(self, beside: Iterable[Record]) -> set[Key]:
        """Note what was sent along, and return which that was."""
        now, found = trio.current_time(), dict[Key, list[Record]]()
        for record in beside:
            if record.kind in self._kinds:
                found.setdefault((record.name, Kind(record.kind)), []).append(record)
        for key, records in found.items():
            ttl = min(record.ttl for record in records)
            self._known[key] = Known([record.data for record in records], now + ttl)
        return {*found}

    async def _ask_each(self, left: Iterator[Key]) -> None:
        for name, kind in left:
            try:
                answer = await self._servers.ask(name, kind)
            except SourceFailed as exc:
                retry = trio.current_time() + RETRY_SECONDS
                self._known[name, kind] = self._known[name, kind]._replace(until=retry, trouble=str(exc))
            else:
                until = trio.current_time() + (RETRY_SECONDS if answer.ttl is None else answer.ttl)
                self._known[name, kind] = Known([record.data for record in answer.records], until)
