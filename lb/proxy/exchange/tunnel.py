"""A tunnel, after an upgrade: bytes both ways until both sides have ended.

Small messages pass through Python. A burst that fills the receive buffer goes through a pipe while it lasts,
so that quiet tunnels hold no pipe.
"""

from collections.abc import Callable

import trio

from lb.net.splice import PIPE_BYTES, Pipes
from lb.net.wire import RECEIVE_SIZE, Wire

Progress = Callable[[bool, int], None]
"""Called for every piece with (it goes to the client, number of bytes), before it is sent."""


async def tunnel(client: Wire, backend: Wire, pipes: Pipes, progress: Progress) -> None:
    """Carry bytes both ways until both sides have ended, or one connection breaks, which is no error.

    There is no timeout here: the caller's scope has one, which `progress` moves. An end of one side is
    forwarded as a half-close, and the other direction goes on. Neither wire is closed here.
    """

    async def carry(source: Wire, sink: Wire, to_client: bool) -> None:
        try:
            while data := await source.receive():
                progress(to_client, len(data))
                await sink.send(data)
                if len(data) == RECEIVE_SIZE:
                    await carry_burst(source, sink, to_client)
            sink.end_sending()
        except OSError:
            nursery.cancel_scope.cancel()

    async def carry_burst(source: Wire, sink: Wire, to_client: bool) -> None:
        with pipes.lend() as pipe:
            while count := pipe.fill(source, PIPE_BYTES):
                progress(to_client, count)
                while not pipe.drain(sink.sock):
                    await sink.writable()
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, backend, False)
        await carry(backend, client, True)
