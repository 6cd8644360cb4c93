"""The balancer that one would write first: SocketStream, and every h11 event read here and sent there.

python textbook.py LISTEN_PORT BACKEND_PORT...
"""

import itertools
import sys
from collections.abc import Iterator
from functools import partial

import h11
import trio

Idle = dict[int, list[tuple[trio.SocketStream, h11.Connection]]]


async def next_event(stream: trio.SocketStream, connection: h11.Connection) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some(65536))
    return event


async def relay(
    source: trio.SocketStream, theirs: h11.Connection, sink: trio.SocketStream, ours: h11.Connection
) -> bool:
    """One message; False if the sender is gone."""
    while True:
        event = await next_event(source, theirs)
        if not isinstance(event, h11.Request | h11.Response | h11.Data | h11.EndOfMessage):
            return False
        await sink.send_all(ours.send(event) or b"")
        if isinstance(event, h11.EndOfMessage):
            return True


async def serve(turn: Iterator[int], idle: Idle, client: trio.SocketStream) -> None:
    try:
        await converse(turn, idle, client)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
        await client.aclose()


async def converse(turn: Iterator[int], idle: Idle, client: trio.SocketStream) -> None:
    theirs = h11.Connection(h11.SERVER)
    async with client:
        while True:
            port = next(turn)
            if idle[port]:
                backend, ours = idle[port].pop()
            else:
                backend = await trio.open_tcp_stream("127.0.0.1", port)
                ours = h11.Connection(h11.CLIENT)
            if not await relay(client, theirs, backend, ours) or not await relay(
                backend, ours, client, theirs
            ):
                await backend.aclose()
                return
            if ours.our_state is ours.their_state is h11.DONE:
                ours.start_next_cycle()
                idle[port].append((backend, ours))
            else:
                await backend.aclose()
            if theirs.our_state is not h11.DONE:
                return
            theirs.start_next_cycle()


async def main(port: int, backends: list[int]) -> None:
    idle: Idle = {backend: [] for backend in backends}
    handler = partial(serve, itertools.cycle(backends), idle)
    await trio.serve_tcp(handler, port, host="127.0.0.1", backlog=4096)


trio.run(main, int(sys.argv[1]), [int(port) for port in sys.argv[2:]])
