"""Idle connections: which one is lent, which are closed, and when."""

import socket

import pytest
import trio
import trio.testing

from lb.net.addresses import Address
from lb.net.connect import connect
from lb.proxy.backend_side.connections import Connections
from lb.settings.backend_spec import BackendSpec
from tests.kit import GET, OK, Backend, Peer, Scene, lasting, running, virtual_time

pytestmark = virtual_time


async def left_idle(lb: Scene, count: int) -> list[Peer]:
    """So many connections to the backend, idle since now, the oldest first."""
    clients = [await lb.asks(GET) for _ in range(count)]
    peers = [await lb.backend.hears() for _ in range(count)]
    for client, peer in zip(clients, peers, strict=True):
        await peer.says(OK)
        await client.hears(200)
    await trio.testing.wait_all_tasks_blocked()
    return peers


async def hears_and_answers(peer: Peer) -> None:
    await peer.hears_request()
    await peer.says(OK)


async def test_the_newest_is_taken_first() -> None:
    async with running() as lb:
        peers = await left_idle(lb, 3)
        clients = [await lb.asks(GET) for _ in range(3)]
        for client, peer in zip(clients, reversed(peers), strict=True):
            await hears_and_answers(peer)
            await client.hears(200)
        assert (lb["one"].connections_opened, lb["one"].connections_reused) == (3, 3)


async def test_no_more_than_32_are_kept() -> None:
    async with running() as lb:
        peers = await left_idle(lb, 34)
        assert lb["one"].idle_connections == lb["one"].connections == 32
        for peer in peers[32:]:
            await peer.hears_end()
        for peer in peers[:32]:
            await peer.hears_nothing()


async def test_none_is_kept_for_longer_than_its_time() -> None:
    async with running() as lb:
        (peer,) = await left_idle(lb, 1)
        with lasting(1.5):
            await peer.hears_end()
        assert lb["one"].idle_connections == 0


async def test_one_that_is_used_is_young_again() -> None:
    async with running() as lb:
        (peer,) = await left_idle(lb, 1)
        await trio.sleep(1)
        client = await lb.asks(GET)
        await hears_and_answers(peer)
        await client.hears(200)
        with lasting(1.5):
            await peer.hears_end()


@pytest.mark.parametrize("how", ["ends", "closes", "resets", "talks"])
async def test_one_on_which_something_came_is_never_taken(how: str) -> None:
    async with running() as lb:
        (peer,) = await left_idle(lb, 1)
        await peer.says(b"HTTP/1.1 408 Request Timeout\r\n\r\n") if how == "talks" else getattr(peer, how)()
        client = await lb.asks(GET)
        fresh = await lb.backend.accepts()
        await hears_and_answers(fresh)
        await client.hears(200)
        assert len(lb.exchange.attempts) == 1


async def test_one_that_the_backend_closed_is_noticed_within_half_a_second() -> None:
    async with running() as lb:
        (peer,) = await left_idle(lb, 1)
        peer.ends()
        await trio.sleep(0.501)
        assert lb["one"].connections == 0


async def test_old_ones_are_closed_a_backend_a_step_whatever_happens_between_two() -> None:
    async with running(Backend, Backend, Backend) as lb:
        for stand in lb.backends:
            client = await lb.asks(GET)
            peer = await stand.accepts()
            await hears_and_answers(peer)
            await client.hears(200)
            peer.ends()
        await trio.testing.wait_all_tasks_blocked()
        connections = lb.context.connections
        assert isinstance(connections, Connections)
        one, two, three = lb.registry.backends.values()
        work = connections.closing_old()
        next(work)
        assert (one.connections, two.connections, three.connections) == (0, 1, 1)
        lb.registry.remove(two)
        assert list(work) == [None]
        assert (two.connections, three.connections, three.idle_connections) == (0, 0, 0)


@pytest.mark.parametrize("wish", ["drain", "maintenance", "remove", "change"])
async def test_none_outlives_a_wish_that_makes_it_useless(wish: str) -> None:
    async with running() as lb:
        (peer,) = await left_idle(lb, 1)
        one = lb["one"]
        if wish == "drain":
            lb.registry.drain(one, 30.0)
        elif wish == "change":
            lb.registry.change(one, BackendSpec(id="one", url="http://127.0.0.1:1"))
        else:
            getattr(lb.registry, wish)(one)
        with lasting(0.0):
            await peer.hears_end()
        assert one.connections == 0


@pytest.mark.parametrize("wish", ["drain", "change"])
async def test_one_that_was_lent_at_the_time_is_not_kept_afterwards(wish: str) -> None:
    async with running() as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        if wish == "drain":
            lb.registry.drain(lb["one"], 30.0)
        else:
            lb.registry.change(lb["one"], BackendSpec(id="one", url="http://127.0.0.1:1"))
        await peer.says(OK)
        await client.hears(200)
        with lasting(0.0):
            await peer.hears_end()


async def test_a_connection_that_was_dialled_before_the_address_changed_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as lb:
        old = lb["one"].spec

        async def connect_slowly(addresses: list[Address]) -> socket.socket:
            monkeypatch.undo()
            sock = await connect(addresses)
            lb.registry.change(lb["one"], BackendSpec(id=old.id, url="http://127.0.0.1:1"))
            return sock

        monkeypatch.setattr("lb.proxy.backend_side.connections.connect", connect_slowly)
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(OK)
        await client.hears(200)
        await peer.hears_end()
        assert lb["one"].idle_connections == 0
