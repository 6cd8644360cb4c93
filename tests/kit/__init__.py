r"""A client and backends that talk to a balancer over real sockets on virtual time. A test is a dialogue:

    async with running() as lb:
        client = await lb.client()
        await client.says(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer = await lb.backend.accepts()
        await peer.hears_request(b"GET / HTTP/1.1")
        await peer.says(OK)
        await client.hears(200)

Virtual time (`pytestmark = virtual_time`) is Trio's `MockClock`: it stands still while a task can run, and
jumps to the next deadline when all tasks wait. A timeout of 60 s ends at 60.0 exactly, in a millisecond. Real
sockets fit in: on loopback the kernel has delivered the bytes when `send` returns, and Trio asks the kernel
once more before the clock jumps. The clock does not wait for threads; a test with threads takes real time.

`running()` runs a balancer. At the end of its block the clients leave, and it checks that no request is in
flight, that each open socket of the process has an owner, that each exchange has one complete record and the
counters agree with the records, and that nothing was logged as an error.

`says` sends bytes. `hears` reads the next message and fails if it is not the one that the test names. `asks`
is a new client that says a request. `lasting(2)` fails unless its block takes exactly 2 s on Trio's clock.

`until_not_reached` and `Steps` repeat a test and cancel a client connection at its first step, at its second,
and so on. Trio cancels a task only between two steps, so this tries every cancellation that there can be.

`line` is one end of a connection, `client` and `backend` are the two kinds of end, `message` is a strict
parser that shares no code with the balancer, `smuggling` a table of requests with which parsers are deceived.
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
