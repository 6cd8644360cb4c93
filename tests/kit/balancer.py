"""The balancer between a test's clients and backends, and what is checked when the test leaves it."""

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
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.context import Context
from tests.kit.backend import Backend, Stand
from tests.kit.client import Client, connected
from tests.kit.wires import current, files

IDS = ("one", "two", "three", "four", "five", "six")
LEAVING_SECONDS = 3.0
"""How long the balancer may take to end its connections after the clients have closed theirs."""


STREAMING: dict[str, Any] = {"buffer": {"request": 0}}
"""What a pool's settings say where a request's body is not gathered before a backend is chosen."""


class Scene:
    """A running balancer, its backends, the clients of the test, and the records of its exchanges."""

    def __init__(self, balancer: lb.Balancer, stands: list[Stand]) -> None:
        self.balancer = balancer
        self.registry = balancer.registry
        self.metrics = balancer.metrics
        self.stands = stands
        self.backends = [stand for stand in stands if isinstance(stand, Backend)]
        self.clients: list[Client] = []
        self.errors_expected = 0
        """How many lines on level error the test expects in the log."""
        self.exchanges: list[ExchangeRecord] = []
        # Every backend that there was, in order. A removed one must leave nothing behind either.
        self.everybody = dict.fromkeys(balancer.registry.backends.values())
        self.context: Context = balancer.traffic.context
        self.context.chance = lambda: 1.0  # pauses have their full length
        # The wall clock follows the virtual one, so that a time reads the same however long a test takes.
        start = balancer.control.wall(0.0)
        balancer.control.wall = lambda moment: start + moment
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
        """The registry's backend with this id."""
        return self.registry.backend(id)

    def gives_turn(self, id: str, turn: int = 1 << 60) -> None:
        """Round robin owes the backend so much, instead of what it owed it."""
        pool = self.registry.pools[self[id].pool]
        pool._roster.begin_anew()  # what is owed is in the backends again
        self[id].turn = turn

    @property
    def exchange(self) -> ExchangeRecord:
        """The record of the exchange that ended last."""
        return self.exchanges[-1]

    @property
    def reason(self) -> str | None:
        """Why it failed, as a token of RFC 9209."""
        return self.exchange.reason

    async def client(self, listener: int = 0) -> Client:
        client = await connected(self.balancer.control.listening[listener])
        self.clients.append(client)
        return client

    async def asks(self, request: bytes) -> Client:
        """A new client that has said this request."""
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
    """Run a balancer with backends of these kinds, by default one `Backend`; their ids are "one", "two" ...

    `each` has settings for every backend, `config` what `lb.toml` could have. A request's body is passed on
    as it comes (`STREAMING`), unless the test sets a pool's `buffer`. If the block ends without an
    exception, `check_at_rest` and `check_accounts` check that nothing is left of what happened in it.
    """
    sockets = open_sockets()
    stands = [kind() for kind in kinds or (Backend,)]
    try:
        with structlog.testing.capture_logs() as logged:
            async with lb.open_balancer(lb.build(wired(streaming(config)))) as balancer:
                if current().back:
                    for pool in balancer.registry.pools.values():
                        balancer.traffic.connections.backend_tls().contexts.prepare(pool.settings.tls)
                # Added after the start: the balancer would connect once to those in its configuration.
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


def streaming(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with `STREAMING` in each pool that sets no `buffer`."""
    pools = {"default": {}, **config.get("pools", {})}
    return {**config, "pools": {name: {**STREAMING, **pool} for name, pool in pools.items()}}


def wired(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with a listener, and with TLS where the test has such wires."""
    wires = current()
    scheme = "https://" if wires.front else ""
    listen = config.get("listen", ["127.0.0.1:0"])
    config = {**config, "listen": [each if "://" in each else scheme + each for each in listen]}
    if wires.front:
        certificates = [{"chain": files().chain, "key": files().key}]
        config["tls"] = {"certificates": certificates, **config.get("tls", {})}
    if wires.back:
        pools = {name: {"tls": {"ca": files().ca}, **pool} for name, pool in config["pools"].items()}
        config["pools"] = pools
    return config


def open_sockets() -> set[int]:
    """The inodes of all sockets and pipes of this process."""
    return set(_inodes())


def _inodes() -> Iterator[int]:
    for fd in map(int, os.listdir("/dev/fd")):
        try:
            status = os.fstat(fd)
        except OSError:  # the descriptor that `listdir` read the folder with
            continue
        if stat.S_ISSOCK(status.st_mode) or stat.S_ISFIFO(status.st_mode):
            yield status.st_ino


async def everybody_leaves(scene: Scene) -> None:
    """Close the clients' connections, then those of backends on which the balancer still waits."""
    for client in scene.clients:
        client.closes()
    await _clients_are_gone(scene)
    for backend in scene.backends:
        for peer in backend.peers if scene.context.clients else ():
            peer.closes()
    await _clients_are_gone(scene)


async def _clients_are_gone(scene: Scene) -> None:
    with trio.move_on_after(LEAVING_SECONDS):
        while scene.context.clients:  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.1)


def check_at_rest(scene: Scene, before: set[int]) -> None:
    """No client connection is left and no request in flight. Each open socket or pipe has an owner.

    Owners are the test, the listeners, the idle connections and the spare pipes.
    """
    assert not scene.context.clients
    for backend in scene.everybody:
        assert backend.in_flight == 0, backend.id
        assert backend.connections == backend.idle_connections, (
            f"{backend.id}: a connection is in use, and no request in flight"
        )
    for pool in scene.registry.pools.values():
        assert pool.waiting == 0
    assert scene.context.held.count == 0
    for counts in scene.metrics.listeners.values():
        assert (counts.open, counts.in_flight) == (0, 0)
    idle = sum(backend.idle_connections for backend in scene.everybody)
    control = scene.balancer.control
    inherited = sum(address.startswith("fd://") for address in control.config.listen)
    listeners = 0 if control.stopping else len(control.listening) - inherited
    owned = scene.own_sockets + listeners + idle + len(scene.context.pipes._idle)
    assert len(open_sockets() - before) == owned, "a socket is open that has no owner"


def check_accounts(scene: Scene) -> None:
    """Each exchange has one complete record, and every counter agrees with the records."""
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
