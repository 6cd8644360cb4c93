"""A tunnel, after an upgrade: bytes both ways until both sides have ended.

An end of one side is forwarded as a half-close, and the other direction goes on. But a side that has left
looks like one that still reads, so a tunnel that is half open may not be silent for long.

Small messages pass through Python. A burst that fills the receive buffer goes through a pipe while it lasts,
so that quiet tunnels hold no pipe.
"""

from collections.abc import Callable

import trio

from lb.net.plain_wire import PlainWire
from lb.net.splice import PIPE_BYTES, Pipes
from lb.net.wire import RECEIVE_SIZE, Wire

LAST_MOMENT_SECONDS = 0.1
"""What comes just when the time is over still counts."""
Progress = Callable[[bool, int], None]
"""Called for every piece with (it goes to the client, number of bytes), before it is sent."""


async def tunnel(client: Wire, backend: Wire, pipes: Pipes, progress: Progress, half_open: float) -> None:
    """Carry bytes both ways until both sides have ended, or one connection breaks, which is no error.

    `half_open` is how many seconds may pass without a byte once one side has ended. While none has, there is
    no timeout here: the caller's scope has one, which `progress` moves. Neither wire is closed here.
    """
    is_half_open = False

    def moved(to_client: bool, count: int) -> None:
        progress(to_client, count)
        if is_half_open:
            nursery.cancel_scope.deadline = trio.current_time() + half_open + LAST_MOMENT_SECONDS

    async def carry(source: Wire, sink: Wire, to_client: bool) -> None:
        nonlocal is_half_open
        try:
            while data := await source.receive():
                moved(to_client, len(data))
                await sink.send(data)
                if len(data) == RECEIVE_SIZE:
                    await carry_burst(source, sink, to_client)
            sink.end_sending()
            is_half_open = True
            moved(to_client, 0)
        except OSError:
            nursery.cancel_scope.cancel()

    async def carry_burst(source: Wire, sink: Wire, to_client: bool) -> None:
        if not (isinstance(source, PlainWire) and isinstance(sink, PlainWire)):
            return
        with pipes.lend() as pipe:
            while count := pipe.fill(source, PIPE_BYTES):
                moved(to_client, count)
                while not pipe.drain(sink):
                    await sink.writable()
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, backend, False)
        await carry(backend, client, True)
