"""A whole exchange with TLS on both sides of the balancer."""

from lb.net.tls_wire import TlsWire
from tests.kit import GET, OK, running, virtual_time
from tests.kit.wires import KINDS, among

pytestmark = virtual_time


async def test_a_request_and_its_answer() -> None:
    with among(KINDS["TLS"]):
        async with running() as lb:
            for _ in range(3):
                client = await lb.asks(GET)
                peer = await lb.backend.hears()
                await peer.says(OK)
                assert (await client.hears(200)).body == b"ok"
                client.closes()
                peer.closes()


async def test_connections_that_wait_keep_no_room_of_their_own() -> None:
    """What OpenSSL reads and writes goes through one memory, which gives back no room that it once needed."""
    with among(KINDS["TLS"]):
        async with running() as lb, lb.backend.answering(OK):
            for _ in range(3):
                await (await lb.asks(GET)).hears(200)
            wires = [each.wire for each in lb.connections if isinstance(each.wire, TlsWire)]
            memories = {(id(wire._incoming), id(wire._outgoing)) for wire in wires}
            assert (len(wires), len(memories)) == (3, 1)
