"""No send waits for ever, and closing loses no answer."""

import trio

from admin.server import GRACE_SECONDS
from admin.transport.bounded_stream import SEND_SECONDS
from tests.admin.kit import Serve


async def test_an_answer_arrives_although_the_body_is_too_large(serve: Serve) -> None:
    head = "POST /backends HTTP/1.1\nHost: localhost\nContent-Length: 4000000\n\n"
    async with serve() as service, await service.connect() as stream:
        with trio.fail_after(2):
            await stream.send_all(head.replace("\n", "\r\n").encode() + b" " * 1_000_000)
            answer = await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 413")


async def test_stop_is_not_held_by_a_client_that_stops_reading(serve: Serve) -> None:
    with trio.fail_after(GRACE_SECONDS + SEND_SECONDS + 2):
        async with serve() as service:
            for number in range(2000):
                service.control.metrics.admin_requests[f"/{'x' * 4000}{number}", "GET", 200] = 1
            stream = await service.connect()
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await stream.receive_some(1000)
    await stream.aclose()
