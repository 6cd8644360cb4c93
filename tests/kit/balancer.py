"""The house between the two parties, and what must hold whenever a test leaves it."""

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import structlog
import trio
import trio.testing

import lb
from lb.core import backend as core
from lb.core.exchange_record import ExchangeRecord
from lb.proxy.client.connection import ClientConnection
from lb.proxy.context import Context
from tests.kit.backend import Backend, Stand
from tests.kit.client import Client, connected

IDS = ("one", "two", "three", "four", "five", "six")
LEAVING_SECONDS = 3.0
"""How long the balancer may take to notice that every client has left."""


class Scene:
    """A running balancer with its backends, the clients that the test has called in, and what was told."""

    def __init__(self, balancer: lb.Balancer, stands: list[Stand]) -> None:
        self.balancer = balancer
        self.registry = balancer.registry
        self.metrics = balancer.metrics
        self.stands = stands
        self.backends = [stand for stand in stands if isinstance(stand, Backend)]
        self.clients: list[Client] = []
        self.errors_expected = 0
        """How many bugs of ours (lines of the log on level error) the test provokes."""
        self.exchanges: list[ExchangeRecord] = []
        self.everybody = dict.fromkeys(balancer.registry.backends.values())
        self.context: Context = balancer._context
        self.context.chance = lambda: 1.0  # pauses have their full length
        self.context.observers = (*self.context.observers, self.exchanges.append)
        self.registry.subscribe(lambda event: self.everybody.update({event.backend: None}))

    @property
    def backend(self) -> Backend:
        return self.backends[0]

    @property
    def connections(self) -> list[ClientConnection]:
        """The client connections, as the balancer sees them."""
        return [connection for connection in self.context.clients if isinstance(connection, ClientConnection)]

    def __getitem__(self, id: str) -> core.Backend:
        """A backend as the registry sees it."""
        return self.registry.backend(id)

    @property
    def exchange(self) -> ExchangeRecord:
        """The record of the exchange that ended last."""
        return self.exchanges[-1]

    @property
    def reason(self) -> str | None:
        """Why it failed."""
        return self.exchange.reason

    async def client(self, listener: int = 0) -> Client:
        client = await connected(self.balancer.control.listening[listener])
        self.clients.append(client)
        return client

    async def asks(self, request: bytes) -> Client:
        """A new client that has said this."""
        client = await self.client()
        await client.says(request)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.closes()
        for stand in self.stands:
            stand.close()

    @property
    def own_sockets(self) -> int:
        return sum(stand.sockets for stand in self.stands) + sum(client.is_open for client in self.clients)


@asynccontextmanager
async def running(
    *kinds: Callable[[], Stand],
    each: Mapping[str, Any] = MappingProxyType({}),
    **config: Any,
) -> AsyncIterator[Scene]:
    """A balancer with a backend of each kind ("one", "two", ...), one `Backend` unless others are asked for.

    `each` is what every backend has in its settings; the rest is as in `lb.toml`. Behind the block nothing
    may be left of what happened in it: see `check_at_rest` and `check_accounts`.
    """
    sockets = open_sockets()
    stands = [kind() for kind in kinds or (Backend,)]
    try:
        with structlog.testing.capture_logs() as logged:
            async with lb.open_balancer(lb.build({"listen": ["127.0.0.1:0"], **config})) as balancer:
                # Added now, because the balancer tries out those of the file when it starts.
                for id, stand in zip(IDS, stands, strict=False):
                    balancer.registry.add(lb.BackendSpec(id=id, url=stand.url, **each))
                scene = Scene(balancer, stands)
                try:
                    yield scene
                    await everybody_leaves(scene)
                    check_at_rest(scene, sockets)
                finally:
                    scene.close()
            check_accounts(scene)
            errors = [line for line in logged if line["log_level"] == "error"]
            assert len(errors) == scene.errors_expected, errors
        assert not open_sockets() - sockets
    finally:
        for stand in stands:
            stand.close()


def open_sockets() -> set[int]:
    """The inodes of all sockets and pipes of this process."""
    return set(_inodes())


def _inodes() -> Iterator[int]:
    for fd in map(int, os.listdir("/dev/fd")):
        try:
            status = os.fstat(fd)
        except OSError:  # the one that the list was read with
            continue
        if stat.S_ISSOCK(status.st_mode) or stat.S_ISFIFO(status.st_mode):
            yield status.st_ino


async def everybody_leaves(scene: Scene) -> None:
    """The clients close their connections, and a moment later the backends those on which they waited."""
    for client in scene.clients:
        client.closes()
    await _nobody_is_left(scene)
    for backend in scene.backends:
        for peer in backend.peers if scene.context.clients else ():
            peer.closes()
    await _nobody_is_left(scene)


async def _nobody_is_left(scene: Scene) -> None:
    with trio.move_on_after(LEAVING_SECONDS):
        while scene.context.clients:  # noqa: ASYNC110 - it tells nobody when they are gone
            await trio.sleep(0.1)


def check_at_rest(scene: Scene, before: set[int]) -> None:
    """No client is left, nothing is in flight, and every socket has an owner: a listener or the idle."""
    assert not scene.context.clients
    for backend in scene.everybody:
        assert backend.in_flight == 0, backend.id
        assert backend.connections == backend.idle_connections, (
            f"{backend.id}: one is lent, and nobody has it"
        )
    for pool in scene.registry.pools.values():
        assert pool.waiting == 0
    for counts in scene.metrics.listeners.values():
        assert (counts.open, counts.in_flight) == (0, 0)
    idle = sum(backend.idle_connections for backend in scene.everybody)
    control = scene.balancer.control
    inherited = sum(address.startswith("fd://") for address in control.config.listen)
    listeners = 0 if control.stopping else len(control.listening) - inherited
    owned = scene.own_sockets + listeners + idle + len(scene.context.pipes._idle)
    assert len(open_sockets() - before) == owned, "a socket is open that nobody owns"


def check_accounts(scene: Scene) -> None:
    """Each exchange was told once, whole, and every counter says the same as the records."""
    exchanges = scene.exchanges
    assert len({id(exchange) for exchange in exchanges}) == len(exchanges)
    attempts = [attempt for exchange in exchanges for attempt in exchange.attempts]
    assert all(exchange.ended is not None for exchange in exchanges)
    assert all(attempt.ended is not None for attempt in attempts)
    assert sum(flow.answers.total() for flow in scene.metrics.flows.values()) == len(exchanges)
    assert scene.metrics.failures.total() == sum(exchange.reason is not None for exchange in exchanges)
    for backend in scene.everybody:
        made = [attempt for attempt in attempts if attempt.backend is backend]
        connected = [attempt for attempt in made if attempt.connected is not None]
        assert backend.codes.total() + backend.failures.total() == len(made)
        assert backend.connections_reused == sum(attempt.reused for attempt in connected)
        assert backend.connections_opened == sum(not attempt.reused for attempt in connected)
        assert (backend.connections, backend.idle_connections) == (0, 0)
