"""What is left of an exchange after an upgrade: bytes both ways until both sides are done."""

from collections.abc import Callable

import trio

from lb.proxy.wire import Wire


async def tunnel(one: Wire, other: Wire, progress: Callable[[bool, int], None]) -> None:
    """Carry bytes between the two until both have ended, or either breaks.

    `progress(to_one, count)` is called with every piece, before it is sent on; it may move the deadline of
    the scope around this, which is the idle timeout. An end from one side is passed on and the other
    direction goes on. Neither wire is closed here.
    """

    async def carry(source: Wire, sink: Wire, to_one: bool) -> None:
        try:
            while data := await source.receive():
                progress(to_one, len(data))
                await sink.send(data)
            sink.end_sending()
        except OSError:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, one, other, False)
        await carry(other, one, True)
