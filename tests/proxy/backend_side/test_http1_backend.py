import select
import socket
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from lb.errors import ConnectionTerminated
from lb.net.plain_wire import PlainWire
from lb.proxy.backend_side.http1_backend import Http1Backend
from lb.proxy.backend_side.terms import Terms
from lb.settings.balancer_settings import Limits

SOURCE: Any = SimpleNamespace(has_received_all=False, trailers=b"")


def connected() -> tuple[Http1Backend, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return Http1Backend(PlainWire(ours), "one", Limits(), lambda: 0.0, Terms()), theirs


async def has_ended(connection: Http1Backend) -> None:
    with pytest.raises(ConnectionTerminated):
        await connection.receive_head()
    connection.wire.close()


@pytest.mark.parametrize("sends", [True, False])
async def test_a_reset_is_known_whichever_call_meets_it(sends: bool) -> None:
    connection, peer = connected()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    select.select([connection.wire._sock], [], [], 5)
    if sends:
        connection.send_content_now(b"y", SOURCE)
        assert connection.takes_no_more
    await has_ended(connection)
    assert connection.was_reset


async def test_an_orderly_end_is_no_reset() -> None:
    connection, peer = connected()
    peer.close()
    select.select([connection.wire._sock], [], [], 5)
    await has_ended(connection)
    assert not connection.was_reset
