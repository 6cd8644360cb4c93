"""What tests speak with: a client and backends over real sockets, on virtual time, scripted line by line.

    async with running() as lb:
        client = await lb.client()
        await client.says(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer = await lb.backend.accepts()
        await peer.hears_request(b"GET / HTTP/1.1")
        await peer.says(OK)
        await client.hears(200)

`line` is one end of a connection, `message` a strict reader of its own (what the balancer sends is judged
by nobody who is related to it), `client` and `backend` the two parties, `balancer` the house between them
and what must hold when a test leaves it, `cancel` the instrument that cancels at every step.

A module on virtual time says `pytestmark = virtual_time`: time stands still while anybody can move, and
jumps to the next deadline when nobody can, so that every timeout is met at its exact moment.
"""

from tests.kit.backend import OK, Backend, BlackHole, Peer, Refusing, answer
from tests.kit.balancer import Scene, running
from tests.kit.cancel import Steps, until_not_reached
from tests.kit.client import GET, Client
from tests.kit.line import Ended, Line
from tests.kit.message import NotHttp, Request, Response
from tests.kit.time import lasting, virtual_time

__all__ = [
    "GET",
    "OK",
    "Backend",
    "BlackHole",
    "Client",
    "Ended",
    "Line",
    "NotHttp",
    "Peer",
    "Refusing",
    "Request",
    "Response",
    "Scene",
    "Steps",
    "answer",
    "lasting",
    "running",
    "until_not_reached",
    "virtual_time",
]
