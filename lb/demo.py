"""The backends of the demo: small HTTP servers on loopback.

Each connection is an h11 connection on a Trio stream, written to be read, not to be fast. A response to
`/slow?seconds=2` takes that long, so that a drain has a request to wait for.
"""

from collections.abc import Sequence
from functools import partial
from urllib.parse import parse_qs, urlsplit

import h11
import trio

IDLE_SECONDS = 120.0  # longer than the balancer keeps an idle connection, so it never gets a closed one
SLOWEST_SECONDS = 60.0
RECEIVE_BYTES = 16 * 1024


async def serve_demo(
    ports: Sequence[int], *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled. Reports the bound addresses in the order of `ports`; 0 is any free port.

    OSError, with the address as its `filename`, where an address cannot be bound; the others are closed.
    """
    listeners: list[trio.SocketListener] = []
    try:
        for port in ports:
            listeners.append(await _listen(port))
        async with trio.open_nursery() as nursery:
            for number, listener in enumerate(listeners, 1):
                nursery.start_soon(trio.serve_listeners, partial(_converse, number), [listener])
            task_status.started(["{}:{}".format(*listener.socket.getsockname()) for listener in listeners])
    finally:
        for listener in listeners:
            listener.socket.close()


async def _listen(port: int) -> trio.SocketListener:
    try:
        [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, f"127.0.0.1:{port}") from exc
    return listener


async def _converse(number: int, stream: trio.SocketStream) -> None:
    """Answer requests until the connection ends. An error of the peer ends only this connection."""
    connection = h11.Connection(h11.SERVER)
    async with stream:
        try:
            while connection.our_state is h11.IDLE:
                await _exchange(number, stream, connection)
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError):
            return


async def _exchange(number: int, stream: trio.SocketStream, connection: h11.Connection) -> None:
    request = await _next_event(stream, connection)
    if not isinstance(request, h11.Request):
        return
    if connection.they_are_waiting_for_100_continue:
        await stream.send_all(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
    while not isinstance(await _next_event(stream, connection), h11.EndOfMessage):
        pass
    await trio.sleep(_pause(request.target))
    await stream.send_all(_answer(number, request, connection))
    if connection.our_state is connection.their_state is h11.DONE:
        connection.start_next_cycle()


async def _next_event(stream: trio.SocketStream, connection: h11.Connection) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        with trio.fail_after(IDLE_SECONDS):
            connection.receive_data(await stream.receive_some(RECEIVE_BYTES))
    return event


def _answer(number: int, request: h11.Request, connection: h11.Connection) -> bytes:
    text = b"Hello from Server %d\n" % number
    fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    events: list[h11.Event] = [h11.Response(status_code=200, headers=fields), h11.EndOfMessage()]
    if request.method != b"HEAD":
        events.insert(1, h11.Data(data=text))
    return b"".join(connection.send(event) or b"" for event in events)


def _pause(target: bytes) -> float:
    """The seconds that `/slow?seconds=2` asks for, 60 at most; 0 for any other path."""
    parts = urlsplit(target.decode("latin-1"))
    if parts.path != "/slow":
        return 0.0
    try:
        # The order matters: max() and min() return their first argument when the second is NaN.
        return min(SLOWEST_SECONDS, max(0.0, float(parse_qs(parts.query)["seconds"][0])))
    except (KeyError, ValueError):
        return 2.0
