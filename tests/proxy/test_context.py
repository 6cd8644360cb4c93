"""A new configuration while clients are connected: it applies to what follows, and cuts no exchange."""

import pytest

import lb
from tests.kit import GET, OK, Refusing, lasting, running, virtual_time
from tests.kit.balancer import Scene

pytestmark = virtual_time

CLAIM = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


def configure(scene: Scene, **tables: object) -> None:
    scene.context.configure(lb.build(tables))


async def test_who_is_trusted_is_so_on_connections_that_are_there() -> None:
    async with running(trusted_proxies=["127.0.0.1"]) as scene, scene.backend.answering(OK) as heard:
        client = await scene.asks(CLAIM)
        await client.hears(200)
        configure(scene, via="other")
        await client.says(CLAIM)
        await client.hears(200)
        assert [each["X-Forwarded-For"] for each in heard] == ["192.0.2.7, 127.0.0.1", "127.0.0.1"]
        one, other = (each["Via"].split() for each in heard)
        assert (one[1], other[1]) == ("lb", "other")
        assert one[2] == other[2]  # the tag by which this balancer detects loops


async def test_limits_and_routes_hold_from_the_next_request_on() -> None:
    async with running() as scene, scene.backend.answering(OK):
        client = await scene.asks(POST)
        await client.hears(200)
        configure(scene, limits={"request_body": 4})
        await client.says(POST)
        await client.hears(413)
        configure(scene, routes=[{"path": "/", "pool": "none"}], pools={"none": {}})
        client = await scene.asks(GET)
        await client.hears(503)


async def test_what_is_behind_us_is_hidden_from_the_next_request_on() -> None:
    async with running(Refusing) as scene:
        told = await (await scene.asks(GET)).hears(502)
        configure(scene, error_details=False, via="edge")
        untold = await (await scene.asks(GET)).hears(502)
        assert b"one at http://127.0.0.1:" in told.body
        assert told["Proxy-Status"].startswith("lb; error=connection_refused; details=")
        assert (untold.body, untold["Proxy-Status"]) == (
            b"502 Bad Gateway\n",
            "edge; error=connection_refused",
        )
        assert "one at http" in scene.exchange.detail  # the full text, for the operator


async def test_a_wait_that_has_begun_keeps_its_deadline() -> None:
    async with running(timeouts={"response_head": 5}) as scene:
        client = await scene.asks(GET)
        await scene.backend.hears()
        with lasting(5):
            configure(scene, timeouts={"response_head": 1})
            await client.hears(504)


async def test_a_limit_that_is_raised_lets_those_in_who_wait() -> None:
    async with running(limits={"connections": 1}) as scene, scene.backend.answering(OK):
        first = await scene.asks(GET)
        await first.hears(200)
        second = await scene.asks(GET)
        configure(scene, limits={"connections": 2})
        await second.hears(200)


@pytest.mark.parametrize("grace", [3, 7])
async def test_the_grace_is_that_of_the_moment_when_we_stop(grace: int) -> None:
    async with running() as scene:
        client = await scene.asks(GET)
        await scene.backend.hears()
        configure(scene, timeouts={"grace": grace})
        with lasting(grace):
            scene.balancer.stop()
            await client.hears(503)
