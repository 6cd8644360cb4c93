"""Backends with probes, for the tests of this folder."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import trio
import trio.testing

from lb.core.backend import Backend as CoreBackend
from lb.core.health.probe_verdict import Check
from lb.core.registry import Registry
from lb.net.resolver import Names
from lb.probes.schedule import Probes
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings, Probe
from tests.kit import Backend, Peer, answer
from tests.kit.backend import Stand
from tests.kit.balancer import IDS, open_sockets

UNAVAILABLE = answer(b"", status="503 Service Unavailable")
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"
MIDDLE = 0.5
"""The chance of most tests: there is no jitter, and a first probe comes after half an interval."""


class Noting(Registry):
    """A registry that keeps what it was told."""

    def __init__(self, chance: Callable[[], float]) -> None:
        super().__init__(trio.current_time, chance, lambda _file: b"")
        self.told: list[tuple[str, Check]] = []
        self.events: list[tuple[str, str, float]] = []
        self.subscribe(lambda event: self.events.append((event.kind, event.backend.id, self.now())))

    def checked(self, backend: CoreBackend, check: Check) -> None:
        self.told.append((backend.id, check))
        super().checked(backend, check)


class House:
    """A registry with one pool, its backends ("one", "two", ...) and their probes."""

    def __init__(self, stands: list[Stand], chance: Callable[[], float], probe: Probe | None) -> None:
        self.stands = stands
        self.registry = Noting(chance)
        self.pool = self.registry.add_pool("default", PoolSettings(probe=probe))
        self.names = Names(self.registry)
        self.probes = Probes(self.registry, self.names, chance)
        for id, stand in zip(IDS, stands, strict=False):
            self.add(id, stand)

    def add(self, id: str, stand: Stand) -> CoreBackend:
        return self.registry.add(BackendSpec(id=id, url=stand.url))[0]

    def __getitem__(self, id: str) -> CoreBackend:
        return self.registry.backend(id)

    @property
    def stand(self) -> Backend:
        stand = self.stands[0]
        assert isinstance(stand, Backend)
        return stand

    async def check(self) -> Check:
        return await self.probes.check(self["one"])

    @property
    def told(self) -> list[Check]:
        return [check for _, check in self.registry.told]

    @property
    def times(self) -> list[float]:
        """When each probe that counts had its result."""
        return [round(check.at, 6) for check in self.told]

    def flips(self) -> list[tuple[str, str, float]]:
        return [(kind, id, round(at, 6)) for kind, id, at in self.registry.events if kind in ("up", "down")]

    def configure(self, **changes: Any) -> None:
        """Change settings of the probe that there is."""
        assert self.pool.settings.probe is not None
        self.set_probe(msgspec.structs.replace(self.pool.settings.probe, **changes))

    def set_probe(self, probe: Probe | None) -> None:
        settings = msgspec.structs.replace(self.pool.settings, probe=probe)
        assert self.registry.configure(self.pool, settings)


@asynccontextmanager
async def house(
    *kinds: Callable[[], Stand], chance: Callable[[], float] = lambda: MIDDLE, **probe: Any
) -> AsyncIterator[House]:
    """One that asks only when it is told to. Behind the block no socket may be left."""
    before = open_sockets()
    stands = [kind() for kind in kinds or (Backend,)]
    try:
        yield House(stands, chance, Probe(**probe))
    finally:
        for stand in stands:
            stand.close()
    assert not open_sockets() - before


@asynccontextmanager
async def probing(*kinds: Callable[[], Stand], **probe: Any) -> AsyncIterator[House]:
    """One whose probes run for as long as the block lasts."""
    async with house(*kinds, **probe) as there, trio.open_nursery() as nursery:
        nursery.start_soon(there.probes.run)
        yield there
        nursery.cancel_scope.cancel()


async def check_against(
    *says: bytes, then: Callable[[Peer], None] = lambda peer: peer.ends(), **probe: Any
) -> Check:
    """The check of a backend that answers with these pieces, and then does that."""
    async with house(**probe) as there, trio.open_nursery() as nursery:

        async def serve() -> None:
            peer = await there.stand.hears()
            with suppress(OSError):  # it may have heard enough
                await peer.says_bytewise(says[0], 7) if len(says) == 1 else await peer.says(*says)
                then(peer)

        nursery.start_soon(serve)
        return await there.check()
    raise AssertionError


def stays(_peer: Peer) -> None:
    """Neither say more nor end."""


def say_now(peer: Peer, data: bytes) -> None:
    """Say it before anybody else can do anything."""
    os.write(peer.sock.fileno(), data)


def jump(seconds: float) -> None:
    """The process stands still for so long, with all that it waits for."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(seconds)
