"""Reading on before a client connection is closed (RFC 9112 section 9.6).

Closing while bytes are unread sends a reset, and a reset may destroy the response before it is read. Many
clients read only when they have sent their whole body, so there is no bound of bytes; the times are nginx's.
"""

from collections.abc import Callable

from lb.net.wire import Wire

LINGER_SECONDS = 30.0
LINGER_SILENCE_SECONDS = 5.0
"""How long a connection is read on, and how long without a byte."""


async def linger(wire: Wire, now: Callable[[], float], wait_for: Callable[[float], None]) -> None:
    """End sending, and read on until the client ends or the connection breaks.

    `wait_for` sets the deadline of the next wait, in seconds from now; missing it ends the connection.
    """
    until = now() + LINGER_SECONDS
    try:
        wire.end_sending()
        wait_for(LINGER_SILENCE_SECONDS)
        while await wire.receive():
            wait_for(min(LINGER_SILENCE_SECONDS, until - now()))
    except OSError:
        pass
