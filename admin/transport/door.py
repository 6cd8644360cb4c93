"""The handshakes of operators: bounded in time and number, and explained as those of the traffic are.

A connection has its place before its handshake (`admission`), and gives way to others as any that waits for a
whole request does. So there are never more handshakes than connections.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from admin.transport.admission import Place
from admin.transport.secure_stream import SecureSocket, SecureStream
from lb.certificate_files.termination import Termination
from lb.control import Control
from lb.core.client_address import peer_of
from lb.core.secured import Secured
from lb.net.secure_accept import REFUSALS, Acceptance, wire_of
from lb.tls.refusal import HandshakeReason


class Entered(NamedTuple):
    """A connection whose handshake is done, and what that has agreed on."""

    stream: SecureStream
    secured: Secured


class Door:
    """The handshakes at one address, which is called so in counts and refusals."""

    def __init__(self, control: Control, tls: Termination, name: str) -> None:
        self._control = control
        self._tls = tls
        self._name = name
        self._one_at_a_time = trio.Lock()

    @asynccontextmanager
    async def entered(self, stream: trio.SocketStream, place: Place) -> AsyncIterator[Entered | None]:
        """Shake hands, and close the connection at the end of the block. None where that was refused."""
        began = trio.current_time()
        wire, sock = wire_of(stream)
        secure = SecureStream(wire, sock)
        try:
            acceptance = Acceptance(wire, self._tls.choose_for_admin, _peer(secure.socket), self._name)
            secured = await self._shaken(acceptance, place)
            if secured is None:
                yield None
                return
            seconds = trio.current_time() - began
            self._tls.handshakes.succeeded(self._name, secured.version, secured.is_resumed, seconds)
            yield Entered(secure, secured)
        finally:
            secure.socket.close()

    async def _shaken(self, acceptance: Acceptance, place: Place) -> Secured | None:
        why: Exception | HandshakeReason
        try:
            with trio.move_on_after(self._control.config.timeouts.handshake):
                return await acceptance.run(self._one_at_a_time)
            why = HandshakeReason.TOO_SLOW
        except REFUSALS as exc:
            why = exc
        except trio.Cancelled:
            if place.is_evicted:
                self._tls.handshakes.refused(acceptance.refusal(HandshakeReason.TOO_MANY))
            raise
        self._tls.handshakes.refused(acceptance.refusal(why))
        return None


def _peer(sock: SecureSocket) -> str:
    try:
        return peer_of(sock.getpeername())[1]
    except OSError:  # it has left already
        return "?"
