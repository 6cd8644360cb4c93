"""Retries: which requests, on which backend, with what body, how often, and until when."""

import socket
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from lb.errors import Reason
from lb.net.addresses import Address
from lb.net.connect import NO_PORT_LEFT, connect
from tests.kit.backend import OK, Backend, BlackHole, Peer, Refusing, answer
from tests.kit.balancer import Scene, running
from tests.kit.client import GET
from tests.kit.time import lasting, virtual_time
from tests.kit.wires import over_all_wires, plain_only

pytestmark = [virtual_time, over_all_wires]

SICK = answer(b"sick", status="503 Service Unavailable")
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


def pool(**tables: object) -> dict[str, object]:
    return {"default": tables}


def story(lb: Scene) -> list[tuple[str, Reason | None]]:
    return [(attempt.backend.id, attempt.reason) for attempt in lb.exchange.attempts]


# -- statuses ----------------------------------------------------------------------------------------------


async def test_an_answer_with_such_a_status_goes_elsewhere() -> None:
    async with running(Backend, Backend, pools=pool(retry={"statuses": [503]})) as lb:
        async with lb.backends[0].answering(SICK), lb.backends[1].answering(OK):
            client = await lb.asks(GET)
            await client.hears(200)
            assert story(lb) == [("one", Reason.DESTINATION_UNAVAILABLE), ("two", None)]


async def test_where_nobody_else_is_left_the_answer_is_passed_on_as_it_is() -> None:
    async with running(Backend, Backend, pools=pool(retry={"statuses": ["500-599"]})) as lb:
        async with lb.backends[0].answering(SICK), lb.backends[1].answering(SICK):
            client = await lb.asks(GET)
            assert (await client.hears(503)).body == b"sick"
            assert story(lb) == [("one", Reason.DESTINATION_UNAVAILABLE), ("two", None)]


@pytest.mark.parametrize("request_", [GET, POST])
async def test_without_the_setting_or_for_other_methods_it_is_passed_on(request_: bytes) -> None:
    settings = {} if request_ is GET else {"statuses": [503]}
    async with running(Backend, Backend, pools=pool(retry=settings)) as lb:
        async with lb.backends[0].answering(SICK):
            client = await lb.asks(request_)
            await client.hears(503)
            await lb.backends[1].accepts_nobody()


async def test_a_client_can_mark_a_request_as_idempotent() -> None:
    marked = POST.replace(b"Host", b"Idempotency-Key: 1\r\nHost")
    settings = {"statuses": [503], "marked_by": "Idempotency-Key"}
    async with running(Backend, Backend, pools=pool(retry=settings)) as lb:
        async with lb.backends[0].answering(SICK), lb.backends[1].answering(OK) as heard:
            client = await lb.asks(marked)
            await client.hears(200)
            assert heard[0].body == b"hi"


# -- ports -------------------------------------------------------------------------------------------------


async def test_without_a_port_to_connect_from_others_are_tried_and_no_backend_is_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(Backend, Backend, Backend) as lb:
        host, _, port = lb.backends[0].address.rpartition(":")
        taken = (socket.AF_INET, (host, int(port)))

        async def connect_unless_taken(addresses: Sequence[Address]) -> socket.socket:
            if taken in addresses:
                raise OSError(NO_PORT_LEFT, "-")
            return await connect(addresses)

        monkeypatch.setattr("lb.proxy.backend_side.connections.connect", connect_unless_taken)
        async with lb.backends[1].answering(OK), lb.backends[2].answering(OK):
            for _ in range(30):
                client = await lb.asks(POST)
                await client.hears(200)
            assert lb["one"].why_not() is None
        failed = [exchange.attempts[0] for exchange in lb.exchanges if len(exchange.attempts) > 1]
        assert len(failed) == 10
        assert {attempt.reason for attempt in failed} == {Reason.CONNECTION_LIMIT_REACHED}


# -- timeouts ----------------------------------------------------------------------------------------------


async def test_an_answer_that_does_not_come_in_time_is_asked_for_elsewhere() -> None:
    async with running(Backend, Backend, timeouts={"response_head": 7}) as lb:
        async with lb.backends[1].answering(OK):
            client = await lb.asks(GET)
            await lb.backend.hears()
            with lasting(7.0):
                await client.hears(200)
            assert story(lb) == [("one", Reason.HTTP_RESPONSE_TIMEOUT), ("two", None)]
            await client.says(GET)  # and the connection goes on
            await client.hears(200)


async def test_one_that_may_not_go_again_is_told_so() -> None:
    async with running(Backend, Backend, timeouts={"response_head": 7}) as lb:
        client = await lb.asks(POST)
        await lb.backend.hears()
        with lasting(7.0):
            await client.hears(504)
        await lb.backends[1].accepts_nobody()


async def test_all_attempts_together_have_one_deadline() -> None:
    settings = {"deadline": 10, "attempts": 5}
    async with running(
        Backend, Backend, Backend, timeouts={"response_head": 7}, pools=pool(retry=settings)
    ) as lb:
        client = await lb.asks(GET)
        await lb.backend.hears()
        with lasting(10.0):
            await client.hears(504)
        assert [backend for backend, _ in story(lb)] == ["one", "two"]


async def test_the_deadline_ends_a_wait_in_the_queue() -> None:
    async with running(Backend, pools=pool(retry={"deadline": 3}), each={"max_in_flight": 1}) as lb:
        await lb.asks(POST)
        await lb.backend.hears()
        second = await lb.asks(GET)
        with lasting(3.0):
            assert "no backend came free in 3 s" in (await second.hears(503))["Proxy-Status"]


async def test_the_deadline_ends_a_wait_for_a_connection() -> None:
    async with running(BlackHole, pools=pool(retry={"deadline": 3})) as lb:
        client = await lb.asks(GET)
        with lasting(3.0):
            await client.hears(504)


# -- bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["length", "chunked"])
async def test_a_small_body_goes_again_and_on(how: str) -> None:
    head, pieces = (
        (PUT, (b"hello", b"world"))
        if how == "length"
        else (CHUNKED, (b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n"))
    )
    async with running(Backend, Backend) as lb:
        client = await lb.asks(head)
        first = await lb.backend.accepts()
        await first.hears_head()
        await client.says(pieces[0])
        await first.hears_exactly(pieces[0])
        first.resets()
        second = await lb.backends[1].accepts()
        request = await second.hears_head()
        await second.hears_exactly(pieces[0])
        await client.says(pieces[1])
        await second.hears_exactly(pieces[1])
        await second.says(OK)
        await client.hears(200)
        await trio.testing.wait_all_tasks_blocked()
        assert request.method == "PUT"
        assert lb.exchange.request_bytes == 10


async def test_a_body_above_the_bound_is_not_kept() -> None:
    async with running(Backend, Backend, pools=pool(retry={"body": 4})) as lb:
        client = await lb.asks(PUT)
        first = await lb.backend.accepts()
        await first.hears_head()
        await client.says(b"hello")
        await first.hears_exactly(b"hello")
        first.resets()
        await client.says(b"world")
        await client.hears(502)
        await lb.backends[1].accepts_nobody()


# -- bounds ------------------------------------------------------------------------------------------------


async def test_without_a_budget_nothing_goes_again() -> None:
    async with running(Refusing, Backend, pools=pool(retry={"budget": 0, "floor": 0})) as lb:
        client = await lb.asks(GET)
        await client.hears(502)
        assert lb.registry.pools["default"].budget.exhausted == 1


async def test_without_further_attempts_only_a_stale_connection_is_made_up_for() -> None:
    async with running(Backend, Backend, pools=pool(retry={"attempts": 0})) as lb:
        client = await lb.asks(GET)
        (await lb.backend.hears()).closes()
        await client.hears(502)
        await lb.backends[1].accepts_nobody()


@plain_only("no backend shakes hands here")
async def test_each_failure_is_held_against_its_backend_once() -> None:
    async with running(Backend, Backend, timeouts={"response_head": 1}) as lb:
        async with lb.backends[1].answering(OK):
            for _ in range(3):
                lb.gives_turn("one")
                client = await lb.asks(GET)
                await client.hears(200)
            assert lb["one"].state == "ejected"
            assert lb["one"].outcomes.why == "the backend did not answer in time"
            client = await lb.asks(GET)
            with lasting(0.0):
                await client.hears(200)


async def test_an_answer_that_breaks_off_is_held_against_it_too() -> None:
    async with running(Backend, Backend, pools=pool(ejection={"consecutive": 1})) as lb:
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await client.hears_head(200)
        peer.closes()
        await client.hears_exactly(b"half")
        await client.hears_end()
        assert lb["one"].state == "ejected"


async def test_clients_doings_are_not() -> None:
    async with running(Backend, Backend, pools=pool(ejection={"consecutive": 1})) as lb:
        client = await lb.asks(GET)
        await lb.backend.hears()
        client.resets()
        await trio.sleep(2)
        assert lb["one"].state == "ready"


# -- cookies -----------------------------------------------------------------------------------------------


async def test_a_client_is_tied_to_its_backend() -> None:
    async with running(Backend, Backend, pools=pool(sticky={"cookie": "at"})) as lb:
        async with lb.backends[0].answering(OK), lb.backends[1].answering(OK):
            client = await lb.asks(GET)
            response = await client.hears(200)
            name, _, rest = response["Set-Cookie"].partition("=")
            assert (name, rest.split("; ")[1:]) == ("at", ["Path=/", "HttpOnly", "SameSite=Lax"])
            cookie = f"Cookie: x=y; at={rest.split(';')[0]}\r\n".encode()
            for _ in range(3):
                await client.says(GET.replace(b"\r\n\r\n", b"\r\n" + cookie + b"\r\n"))
                assert (await client.hears(200)).all("Set-Cookie") == []
                assert story(lb) == [("one", None)]


@pytest.mark.parametrize("attempts", [1, 2])
async def test_f5_23_stale_connections_everywhere_cost_no_further_sends(attempts: int) -> None:
    kinds = [Backend] * 4
    async with running(*kinds, pools=pool(retry={"attempts": attempts})) as lb:
        warm = []
        for backend in lb.backends:
            client = await lb.asks(GET)
            warm.append(await backend.hears())
            await warm[-1].says(OK)
            await client.hears(200)

        seen = 0

        async def sees_and_closes(backend: Backend, peer: Peer) -> None:
            nonlocal seen
            while True:
                await peer.hears_request()
                seen += 1
                peer.closes()
                peer = await backend.accepts()

        async with trio.open_nursery() as nursery:
            for backend, peer in zip(lb.backends, warm, strict=True):
                nursery.start_soon(sees_and_closes, backend, peer)
            client = await lb.asks(GET)
            await client.hears(502)
            nursery.cancel_scope.cancel()
        assert seen == lb.exchange.sends == attempts + 1
