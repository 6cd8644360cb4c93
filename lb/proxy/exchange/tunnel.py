"""What is left of an exchange after an upgrade: bytes both ways until both sides are done.

Messages are small and pass through Python; a burst that fills the receive buffer goes through a pipe for as
long as it lasts, so that quiet tunnels hold none.
"""

from collections.abc import Callable

import trio

from lb.net.splice import PIPE_BYTES, Pipes
from lb.net.wire import RECEIVE_SIZE, Wire

Progress = Callable[[bool, int], None]
"""Called with (whether it goes to the client, how many bytes) for every piece; it may move a deadline."""


async def tunnel(client: Wire, backend: Wire, pipes: Pipes, progress: Progress) -> None:
    """Carry bytes between the two until both have ended, or either breaks.

    The scope around this has the idle timeout, which `progress` moves. An end from one side is passed on and
    the other direction goes on. Neither wire is closed here.
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
