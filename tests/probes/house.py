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
"""The chance of most tests: no jitter, and the first probe after half an interval."""


class Noting(Registry):
    """A registry that keeps its checks and events."""

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
        for name, stand in zip(IDS, stands, strict=False):
            self.add(name, stand)

    def add(self, name: str, stand: Stand) -> CoreBackend:
        return self.registry.add(BackendSpec(id=name, url=stand.url))[0]

    def __getitem__(self, name: str) -> CoreBackend:
        return self.registry.backend(name)

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
        """The time of each result that counted."""
        return [round(check.at, 6) for check in self.told]

    def flips(self) -> list[tuple[str, str, float]]:
        return [
            (kind, name, round(at, 6)) for kind, name, at in self.registry.events if kind in ("up", "down")
        ]

    def configure(self, **changes: Any) -> None:
        """Change settings of the pool's probe."""
        assert self.pool.settings.probe is not None
        self.set_probe(msgspec.structs.replace(self.pool.settings.probe, **changes))

    def set_probe(self, probe: Probe | None) -> None:
        settings = msgspec.structs.replace(self.pool.settings, probe=probe)
        assert self.registry.configure(self.pool, settings)


@asynccontextmanager
async def house(
    *kinds: Callable[[], Stand], chance: Callable[[], float] = lambda: MIDDLE, **probe: Any
) -> AsyncIterator[House]:
    """A house that probes only on request. After the block no socket may be open."""
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
    """A house whose probes run for as long as the block lasts."""
    async with house(*kinds, **probe) as there, trio.open_nursery() as nursery:
        nursery.start_soon(there.probes.run)
        yield there
        nursery.cancel_scope.cancel()


async def check_against(
    *says: bytes, then: Callable[[Peer], None] = lambda peer: peer.ends(), **probe: Any
) -> Check:
    """The check of a backend that answers with these pieces and then calls `then`."""
    async with house(**probe) as there, trio.open_nursery() as nursery:

        async def serve() -> None:
            peer = await there.stand.hears()
            with suppress(OSError):  # the probe may have closed the connection
                await peer.says_bytewise(says[0], 7) if len(says) == 1 else await peer.says(*says)
                then(peer)

        nursery.start_soon(serve)
        return await there.check()
    raise AssertionError


def stays(_peer: Peer) -> None:
    """Keep the connection open and send nothing."""


def say_now(peer: Peer, data: bytes) -> None:
    """Send without an await, so that no other task runs before."""
    os.write(peer.sock.fileno(), data)


def jump(seconds: float) -> None:
    """Stop the whole process for this long: the clock advances and no task runs."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(seconds)
