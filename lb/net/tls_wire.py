"""A wire whose bytes are on the network in TLS records, by `ssl.MemoryBIO`.

The socket is read and written as that of a plain wire is: one receive that takes what is there, one send; TLS
happens in memory between the two. So edges mean the same as without it, and no call waits where another would
have gone on, as `ssl.SSLSocket` does where a read needs a write.

A record may make us answer (KeyUpdate, an alert). Such bytes are *owed*: they go out with the call that
received the record if the kernel takes them, else with the next send. A peer to which much is owed does not
read, and is broken off. So is one that sends records without content and nothing else: they are taken in by
one call, since no edge comes for what is there already, and without a bound that call would never end.

A request, or an answer, mostly comes as one record that is alone. It is read without asking what else there
is, since nothing can be: that is the fast path of `take`. `just bench` guards what it saves.
"""

import errno
import socket
import ssl
from contextlib import suppress

import trio

from lb.net.epoll import Readiness
from lb.net.tls_memory import TlsMemory, is_one_record
from lb.net.wire import RECEIVE_SIZE, Wire
from lb.net.wire_errors import TlsBroken, Truncated, broken_by

RECORD_BYTES = 16 * 1024
"""The most that one record carries (RFC 8446 section 5.1)."""
MOST_OWED = 64 * 1024
MOST_BARREN = RECEIVE_SIZE
"""So many bytes may come without content. Part of a record are 16 KiB, and tickets of a session a few."""


class TlsWire(Wire):
    """A connected socket that is to speak TLS; otherwise as `Wire`.

    The owner calls `begin`, then `handshake_now` until it is True, and sends and receives only from then on;
    before `begin` it may look at what comes with `receive_raw_now`. `tls` tells what was agreed; its `read`
    and `write` are the wire's own.

    What OpenSSL reads and writes goes through a `TlsMemory`, which all wires of a thread may share.
    """

    __slots__ = (
        "_barren",
        "_decrypted",
        "_has_content",
        "_has_eof",
        "_incoming",
        "_is_bare",
        "_is_drained",
        "_is_open",
        "_outgoing",
        "_owed",
        "_rest",
        "_trouble",
        "tls",
    )

    def __init__(
        self,
        sock: socket.socket,
        readiness: Readiness | None = None,
    ) -> None:
        super().__init__(sock, readiness)
        self._rest = b""
        """What has come and OpenSSL has not read. But for parts of records: it keeps those itself."""
        self._decrypted = b""
        """What had to be decrypted before it was asked for."""
        self._owed = b""
        self._barren = 0
        """How many bytes have come since the last content."""
        self._is_bare = self._is_drained = self._has_eof = self._is_open = self._has_content = False
        """`_is_bare`: nothing that was received is still to be read, not even a part of a record.
        `_is_open`: the handshake is done, and we have not said our end."""
        self._trouble: tuple[type[OSError], int, str] | None = None
        """What is wrong. As an exception it would keep the frames that it went through, and they the wire."""

    # -- the handshake -----------------------------------------------------------------------------------

    def receive_raw_now(self, size: int = RECEIVE_SIZE) -> bytes | None:
        data = super().receive_now(size)
        self._is_drained = data is None or len(data) < size
        return data

    def send_raw_now(self, data: bytes) -> None:
        """Send what is no TLS, as far as the kernel takes it: an answer in place of a handshake."""
        with suppress(OSError):
            self._give_part(data)

    def begin(
        self,
        context: ssl.SSLContext,
        received: bytes = b"",
        *,
        is_server: bool = True,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
        memory: TlsMemory | None = None,
    ) -> None:
        """Set what the handshake is made with; `received` is what `receive_raw_now` returned of it. Once."""
        memory = memory or TlsMemory()
        self._incoming, self._outgoing = memory.incoming, memory.outgoing
        self._rest = received
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, is_server, server_hostname=server_name, session=session
        )

    def handshake_now(self) -> bool:
        """Do what can be done of the handshake with what has come. True once it is done.

        False where more has to come, or where some of it is `unsent`: call again then. `ssl.SSLError` where
        either side refuses it, after the alert was sent; `Truncated` where the peer has left; the OSError of
        the socket.
        """
        if self.is_ready or self._readiness is None:
            self._receive_flight()
        while True:
            try:
                self._shake()
            except ssl.SSLWantReadError as exc:
                is_sent = self._send_flight()
                if self._has_eof:
                    raise Truncated(errno.ECONNRESET, "the connection ended within the handshake") from exc
                if not is_sent or self._is_drained or not self._receive_flight():
                    return False
            except ssl.SSLError:
                self._pay()
                raise
            else:
                return self._is_done()

    def _shake(self) -> None:
        self._feed()
        try:
            self.tls.do_handshake()
        finally:
            self._take_back()

    def _feed(self) -> None:
        """Give OpenSSL what has come; `_take_back` has to follow."""
        if self._rest:
            self._incoming.write(self._rest)

    def _take_back(self) -> None:
        self._rest = self._incoming.read() if self._incoming.pending else b""

    def _receive_flight(self) -> bool:
        data = self._fill()
        if self._is_drained:
            self.was_emptied()
        self._rest += data or b""
        return data is not None

    def _send_flight(self) -> bool:
        self._owed += self._outgoing.read()
        if self._owed and self.unsent is None:
            flight, self._owed = self._owed, b""
            self._give(flight)
        return self.unsent is None

    def _is_done(self) -> bool:
        """Session tickets go out with the answer where the first request is here: nobody waits for them."""
        has_request = bool(self._rest)
        if has_request and self.tls.version() == "TLSv1.3":
            self._owed += self._outgoing.read()
        else:
            self._send_flight()
        self.is_ready = has_request or self._has_ended or not self._is_drained
        self._is_open = self.unsent is None
        return self._is_open

    async def shake_hands(self) -> None:
        """Wait until the handshake is done. Raises as `handshake_now`; the caller sets the timeout."""
        while not self.handshake_now():
            if self.unsent is None:
                await self.readable()
            else:
                await self.flush()

    # -- receiving ---------------------------------------------------------------------------------------

    async def readable(self) -> None:
        if self._readiness is None and self.is_ready:
            await trio.lowlevel.checkpoint()
        else:
            await super().readable()

    def receive_now(self, size: int = RECEIVE_SIZE) -> bytes | None:
        try:
            return self.take(size)
        except OSError:
            return b""

    def take(self, size: int) -> bytes | None:
        if self._is_bare:
            records = self._fill()
            if records is None:
                return None
            if is_one_record(records):
                self._incoming.write(records)
                if data := self._read(size):
                    self._is_bare = len(data) < size
                    if self._is_bare:
                        self.was_emptied()
                    return data
            else:
                self._rest = records
        return self._take_any(size)

    def _take_any(self, size: int) -> bytes | None:
        while True:
            data = self._decrypt(size)
            if data is not None:
                return data
            if self._barren > MOST_BARREN:
                raise self._broken(TlsBroken, errno.EPROTO, "the peer sends records without content")
            records = self._fill()
            if records is None:
                return None
            self._rest += records
            self._barren += len(records)

    def _decrypt(self, size: int) -> bytes | None:
        """Up to `size` bytes of the records that are here; None where none is whole, b"" at the end."""
        self._feed()
        try:
            return self._decrypt_fed(size)
        finally:
            self._take_back()

    def _decrypt_fed(self, size: int) -> bytes | None:
        pieces, left = [], size
        if self._decrypted:
            pieces.append(self._decrypted[:size])
            self._decrypted = self._decrypted[size:]
            left -= len(pieces[0])
        while left and (self._incoming.pending or self._has_ended or self._has_eof or self.tls.pending()):
            data = self._read(left) if not pieces else self._read_more(left)
            self._is_bare = bool(data)  # a part of a record may have been read otherwise
            if not data:
                if data is not None and not pieces:
                    return b""
                break
            pieces.append(data)
            left -= len(data)
        if not left:
            self._is_bare = False
        elif self._is_drained and not self._has_eof:
            self.was_emptied()
        if not pieces:
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_more(self, size: int) -> bytes | None:
        """As `_read`; what is wrong is told by the next call, as there is content before it."""
        try:
            return self._read(size)
        except OSError:
            return None

    def _read(self, size: int) -> bytes | None:
        if self._trouble is not None:
            kind, number, words = self._trouble
            raise kind(number, words)
        try:
            data = self.tls.read(size)
        except ssl.SSLWantReadError as exc:
            if self._has_eof:
                self._pay()
                why = "the connection ended without a close_notify"
                raise self._broken(Truncated, errno.ECONNRESET, why) from exc
            data = None
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLError as exc:
            self._pay()
            raise self._broken(*broken_by(exc.reason or str(exc), self._has_content)) from exc
        if self._outgoing.pending:
            self._pay()
        if data:
            self._has_content, self._barren = True, 0
        elif data is not None:
            self.is_ready = self._has_ended = True
        return data

    def _broken(self, kind: type[OSError], number: int, words: str) -> OSError:
        """Nothing more comes, and every further call says why."""
        self._incoming.read()
        self._trouble, self._is_bare = (kind, number, words), False
        self.is_ready = self._has_ended = True
        return kind(number, words)

    def _fill(self) -> bytes | None:
        """Receive records that are there: what was received. None where there are none now."""
        if self._has_eof:
            return None
        try:
            data = self._sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            self.was_emptied()
            return None
        self._is_drained = len(data) < RECEIVE_SIZE
        if not data:
            self._has_eof = True
        self.is_ready = True
        return data

    def is_quiet(self) -> bool:
        """True while neither content nor an end is there; records that carry none are taken in."""
        try:
            data = self.take(RECORD_BYTES)
        except OSError:
            return False
        if data:
            self.unread(data)
        return data is None

    # -- sending -----------------------------------------------------------------------------------------

    def send_now(self, data: bytes | bytearray | memoryview) -> bool:
        self._encrypt(data)
        return self._give_records()

    def send_last_now(self, data: bytes | bytearray | memoryview) -> bool:
        if self._is_open and self._trouble is None:
            self._end_records(data)
        else:
            self._encrypt(data)
        return self._give_records()

    def _encrypt(self, content: bytes | bytearray | memoryview) -> None:
        """A record for each piece: by the mode that `ssl` sets, no more is written at once."""
        try:
            if len(content) <= RECORD_BYTES:
                if content:
                    self.tls.write(content)
                return
            view = memoryview(content)
            for at in range(0, len(view), RECORD_BYTES):
                self.tls.write(view[at : at + RECORD_BYTES])
        except ssl.SSLError as exc:
            self._outgoing.read()
            raise TlsBroken(errno.EPIPE, f"TLS: {exc.reason or exc}") from exc

    def _give_records(self) -> bool:
        """As `_give`: what OpenSSL has written, behind what is owed."""
        records = self._outgoing.read()
        if self._owed:
            records, self._owed = self._owed + records, b""
        try:
            sent = self._sock.send(records)
        except BlockingIOError:
            sent = 0
        if sent == len(records):
            return True
        self.unsent = memoryview(records)[sent:]
        return False

    def _pay(self) -> None:
        """Send what is owed, if nothing else is unsent. That the peer has left is for a receive to tell."""
        self._owed += self._outgoing.read()
        if self.unsent is None:
            try:
                self._owed = self._owed[self._give_part(self._owed) :]
            except OSError:
                self._owed = b""
        if len(self._owed) > MOST_OWED:
            self._broken(TlsBroken, errno.EPROTO, "the peer does not read what answers its own records")

    def end_sending(self) -> None:
        self._say_end()
        super().end_sending()

    def _say_end(self) -> None:
        """Send a close_notify."""
        if self._is_open and self._trouble is None:
            self._end_records()
            self._pay()

    def _end_records(self, last: bytes | bytearray | memoryview = b"") -> None:
        """Write this and a close_notify. What has come is taken in before: OpenSSL forgets it otherwise."""
        self._is_open = False
        if not self._is_bare:
            self._feed()
            try:
                while data := self._read_more(RECEIVE_SIZE):
                    self._decrypted += data
            finally:
                self._take_back()
        self._encrypt(last)
        with suppress(ssl.SSLError):  # it waits for the peer's own end, which comes by a receive
            self.tls.unwrap()

    def close(self) -> None:
        """Close the socket, after a close_notify where the peer can still take one."""
        if self._is_open and self.unsent is None:
            self._say_end()
        super().close()
