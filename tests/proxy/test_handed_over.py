"""A balancer that is replaced: another program listens on its sockets, and no request is lost for it."""

import socket
from pathlib import Path

import trio
import trio.testing

from tests.kit import GET, OK, Scene, lasting, running, virtual_time

pytestmark = virtual_time

UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def handed_over(lb: Scene) -> socket.socket:
    """Another program serves from now on; its copy of the socket."""
    [(address, [listener])] = lb.balancer.listeners.items()
    other = listener.sock.dup()
    lb.balancer.hand_over([address])
    return other


async def test_an_idle_client_that_asks_within_the_grace_is_answered() -> None:
    """It may have sent its request before it could know that the connection is to end."""
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        with handed_over(lb):
            await trio.sleep(29)
            await client.says(GET)
            assert (await client.hears(200))["Connection"] == "close"
            await client.hears_end()
    assert lb.balancer.cut == 0


async def test_an_idle_client_that_stays_silent_has_the_grace() -> None:
    async with running(timeouts={"grace": 7}) as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        with handed_over(lb), lasting(7.0):
            await client.hears_end()
    assert lb.balancer.cut == 0


async def test_in_a_hurry_an_idle_client_has_a_last_chance() -> None:
    async with running() as lb, lb.backend.answering(OK):
        client = await lb.asks(GET)
        await client.hears(200)
        with handed_over(lb):
            await trio.sleep(5)
            lb.balancer.hurry()
            with lasting(1.0):
                await client.hears_end()


async def test_what_waits_in_the_backlog_is_the_other_programs() -> None:
    async with running(limits={"connections": 1}) as lb:
        first, second = await lb.asks(GET), await lb.asks(GET)
        peer = await lb.backend.hears()
        with handed_over(lb) as other:
            await trio.testing.wait_all_tasks_blocked()
            accepted, _ = other.accept()
            with accepted:
                assert accepted.recv(100) == GET
                await peer.says(OK)
                await first.hears(200)
                second.closes()
            third = await lb.client()
            other.accept()[0].close()
            third.closes()


async def test_what_runs_has_the_grace_and_a_tunnel_too() -> None:
    async with running(timeouts={"grace": 7}) as lb:
        client = await lb.asks(UPGRADE)
        peer = await lb.backend.hears()
        await peer.says(SWITCHED)
        await client.hears(101)
        with handed_over(lb):
            await trio.sleep(6)
            await client.says(b"ping")
            await peer.hears_exactly(b"ping")
            with lasting(1.0):
                await client.hears_end()
    assert lb.balancer.cut == 1


async def test_no_delay_is_for_those_who_ask_whether_it_is_ready() -> None:
    """It is the other program that answers /readyz now."""
    async with running(timeouts={"shutdown_delay": 20}) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        with handed_over(lb) as other:
            await trio.testing.wait_all_tasks_blocked()
            late = await lb.client()
            other.accept()[0].close()
            late.closes()
            await peer.says(OK)
            await client.hears(200)


async def test_nothing_is_saved_any_more_once_another_program_saves(tmp_path: Path) -> None:
    async with running(state=f"{tmp_path}/state.json") as lb:
        assert await lb.balancer.save()
        await lb.balancer.stop_saving()
        assert not await lb.balancer.save()


async def test_a_tunnel_may_begin_on_a_connection_that_was_there_before() -> None:
    async with running() as lb:
        client = await lb.client()
        await trio.testing.wait_all_tasks_blocked()
        with handed_over(lb):
            await client.says(UPGRADE)
            peer = await lb.backend.hears()
            await peer.says(SWITCHED)
            await client.hears(101)
            await trio.sleep(20)
            await client.says(b"ping")
            await peer.hears_exactly(b"ping")
            await peer.says(b"pong")
            await client.hears_exactly(b"pong")
            client.closes()
            await peer.hears_end()
