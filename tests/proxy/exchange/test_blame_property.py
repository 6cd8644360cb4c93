"""No client, however it behaves, can get a healthy backend ejected.

Hypothesis makes up the clients: when they send, read, pause and leave. The backends are healthy but
impatient. They answer a request once it is whole, and break off after a while without progress, whether they
wait for the rest of a request or for room for their response.
"""

from collections.abc import Callable, Sequence

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.errors import ConnectionTerminated, ResponseIncomplete
from tests.kit.memory import Asked, MemoryBackend, MemoryScene, exchanging
from tests.kit.time import run_on_virtual_time

CLIENTS = 12
PATIENCE_SECONDS = 2.2
"""No pauses of a client add up to it: what comes in the last moment looks like the fault of the server."""
PIECES = 4
REQUEST = b"%b / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * PIECES)

acts = st.lists(
    st.one_of(
        st.sampled_from(["sends", "ends", "stalls", "reads on", "leaves"]),
        st.sampled_from([0.5, 1.0, 1.5, 3.0, 29.0, 61.0]),
    ),
    max_size=8,
)
clients = st.tuples(st.sampled_from([b"GET", b"PUT", b"POST"]), acts)


@settings(max_examples=60, deadline=None)
@given(st.lists(clients, min_size=1, max_size=3))
def test_a_backend_that_is_well_is_never_ejected(kinds: Sequence[tuple[bytes, list[str | float]]]) -> None:
    async def main() -> None:
        async with exchanging(backends=4) as scene:
            for number in range(CLIENTS):
                method, does = kinds[number % len(kinds)]
                await one_client(scene, method, does)
                assert scene.ejected == []

    run_on_virtual_time(main)


async def one_client(scene: MemoryScene, method: bytes, does: list[str | float]) -> None:
    async with trio.open_nursery() as nursery:
        scene.connections.on_lent = lambda connection: nursery.start_soon(serve, connection)
        asked = scene.asks(REQUEST % (method, 100), b"x", ends=False)
        await act(asked, does)
        await asked.outcome()
        nursery.cancel_scope.cancel()


async def act(asked: Asked, does: list[str | float]) -> None:
    """What this client does; at last it leaves."""
    client = asked.client
    for each in does:
        match each:
            case float():
                await trio.sleep(each)
            case "sends" if not client.has_ended:
                client.says(b"x")
            case "ends" if not client.has_ended:
                client.says(b"x", ends=True)
            case "stalls":
                client.stalls()
            case "reads on":
                client.reads_on()
            case "leaves":
                client.leaves()
    await trio.sleep(100)
    client.leaves()


async def serve(connection: MemoryBackend) -> None:
    """One request on a connection that has just been lent."""
    if not await in_time(connection, lambda: connection.requests and connection.heard_all):
        connection.breaks_off(ConnectionTerminated("the rest of the request did not come"))
        return
    connection.answers(RESPONSE, ends=False)
    for number in range(PIECES):
        connection.says(bytes(100), ends=number == PIECES - 1)
        if not await in_time(connection, lambda: not connection.pieces):
            connection.pieces.clear()
            connection.breaks_off(ResponseIncomplete("the response was not taken"))
            return


async def in_time(connection: MemoryBackend, condition: Callable[[], object]) -> bool:
    """The condition becomes true within the timeout of this backend."""
    with trio.move_on_after(PATIENCE_SECONDS):
        await connection.changes.until(condition)
        return True
    return False
