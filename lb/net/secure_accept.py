"""TLS with a client that has a task of its own from the start; and what is told of any handshake.

The traffic takes the steps of a handshake by plain calls (`lb.proxy.client_side.opening`), as it has many at
a time. Here they are the operator's, who are few. As there, the context is chosen from the ClientHello before
there is an SSL object, one handshake begins in each pass of the event loop, and slow keys have a thread.
"""

import errno
import socket
import ssl
import time
from collections.abc import Callable

import msgspec
import trio

from lb.core.secured import Secured
from lb.net.tls_wire import TlsWire
from lb.net.wire_errors import Truncated
from lb.tls.client_hello import ClientHello, HelloRefused, PlainHttp, read_client_hello
from lb.tls.contexts import spoken
from lb.tls.raw_answers import ANSWER, UNRECOGNIZED_NAME, UnknownName
from lb.tls.refusal import HandshakeReason, Known, Refusal, refusal, refused
from lb.tls.table import Served

Choose = Callable[[ClientHello, str], Served | None]


def wire_of(stream: trio.SocketStream) -> tuple[TlsWire, socket.socket]:
    """A wire with the socket of this stream, which has none any more. TLS has not begun on it.

    The socket is the wire's, and for others to be asked for its names only.
    """
    sock = socket.socket(fileno=stream.socket.detach())
    return TlsWire(sock), sock


class Acceptance:
    """One handshake with a client. `choose` says what a ClientHello gets that came to this address of ours.

    The `wire` stays the caller's. `run` is the handshake; where it fails, `refusal` says why.
    """

    def __init__(self, wire: TlsWire, choose: Choose, peer: str, listener: str) -> None:
        self.wire = wire
        self._choose = choose
        self._peer, self._listener = peer, listener
        self._hello: ClientHello | None = None
        self._served: Served | None = None

    async def run(self, one_at_a_time: trio.Lock) -> Secured:
        """Shake hands, and return what was agreed on. Who begins holds the lock. The caller sets the timeout.

        Raises an `ssl.SSLError`, an OSError, HelloRefused or UnknownName where that cannot be.
        """
        data = await self._heard()
        assert self._hello is not None
        self._served = self._choose(self._hello, self.wire.local_address())
        if self._served is None:
            self.wire.send_raw_now(UNRECOGNIZED_NAME)
            raise UnknownName
        self.wire.begin(self._served.context, data)
        async with one_at_a_time:
            await trio.lowlevel.checkpoint()
        while not await self._step():
            if self.wire.unsent is None:
                await self.wire.readable()
            else:
                await self.wire.flush()
        return agreed(self.wire, self._hello, self._served)

    async def _heard(self) -> bytes:
        """What has come once the ClientHello is whole."""
        data = b""
        while True:
            try:
                self._hello = read_client_hello(data)
            except PlainHttp:
                self.wire.send_raw_now(ANSWER)
                raise
            if self._hello is not None:
                return data
            await self.wire.readable()
            more = self.wire.receive_raw_now()
            if more == b"":
                raise Truncated(errno.ECONNRESET, "the connection ended before the ClientHello")
            data += more or b""

    async def _step(self) -> bool:
        assert self._served is not None
        if any(each.is_slow for each in self._served.certificates):
            return await trio.to_thread.run_sync(self.wire.handshake_now)
        return self.wire.handshake_now()

    def refusal(self, why: Exception | HandshakeReason) -> Refusal:
        """Why it did not come about: for the error of `run`, or for a reason of the caller's."""
        ordered = why.ordered if isinstance(why, UnknownName) else None
        facts = known(self._peer, self._listener, self._hello, self._served, ordered)
        match why:
            case HandshakeReason():
                return refusal(facts, why)
            case UnknownName():
                return refusal(facts, HandshakeReason.UNKNOWN_NAME)
        return refused(facts, why)


REFUSALS = (ssl.SSLError, OSError, HelloRefused, UnknownName)
"""What ends a handshake, and is no bug."""


def agreed(wire: TlsWire, hello: ClientHello, served: Served) -> Secured:
    """What a handshake that is done has agreed on."""
    policy, cipher = served.policy, wire.tls.cipher()
    return Secured(
        hello.server_name,
        wire.tls.version() or "",
        "" if cipher is None else cipher[0],
        bool(wire.tls.session_reused),
        wire.tls.getpeercert(binary_form=True),
        policy,
        policy is not None and policy.tell,
    )


def known(
    peer: str, listener: str, hello: ClientHello | None, served: Served | None, ordered: str | None
) -> Known:
    """What is known of a handshake now that is refused."""
    certificates = () if served is None else served.certificates
    facts = Known(
        at=time.time(),
        peer=peer,
        listener=listener,
        hello=hello,
        certificate=certificates[0] if certificates else None,
        ordered=ordered,
    )
    return facts if served is None else msgspec.structs.replace(facts, spoken=spoken(served.context))
