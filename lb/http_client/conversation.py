"""One connection and HTTP/1.1 on it, by h11: a request, the head of its answer, and the body as it comes.

Whatever fails is told as AskFailed with the address, the method and the path; a query or a field of the
request is never in it, for either may be a secret. After a failure or a cancellation it can only be closed.
"""

import ssl
from typing import NamedTuple

import h11
import trio

from lb.http_client.ask_failed import AskFailed, Stale, in_words
from lb.http_client.dialled import Dialled
from lb.http_client.server_url import Server

HEAD_LIMIT = 64 * 1024
RECEIVE_SIZE = 16 * 1024
"""So little that all of its lines can be taken in one turn of the event loop."""
EXCERPT = 200
Fields = tuple[tuple[str, str], ...]
BROKEN = (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError)


class Request(NamedTuple):
    """What is asked. `target` is a path with its query."""

    method: str
    target: str
    fields: Fields = ()
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.target.partition('?')[0]}"


class Head(NamedTuple):
    """Status and fields of an answer; the names are in lower case, and the last of several counts."""

    status: int
    fields: dict[str, str]


class Conversation:
    """HTTP/1.1 on a connection, which this owns: one request at a time. Its owner closes it.

    `was_used` says that it has carried an answer before, so that its end may only mean that it was idle.
    """

    def __init__(self, server: Server, dialled: Dialled) -> None:
        self._server = server
        self._dialled = dialled
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._what = ""
        self._has_heard = False
        self._has_waited = False
        """Since the last event something was received, so that other tasks had their turn."""
        self.was_used = False

    def close(self) -> None:
        self._dialled.close()

    @property
    def is_quiet(self) -> bool:
        return self._dialled.is_quiet

    async def ask(self, request: Request, seconds: float) -> Head:
        """Send the request, and return the head of its final answer. `seconds` bound both together.

        Stale where the connection ended before the first byte of it.
        """
        self._what, self._has_heard = str(request), False
        with trio.move_on_after(seconds) as scope:
            await self._send(self._bytes_of(request))
            return await self._head()
        assert scope.cancelled_caught
        raise self.failed(f"no answer within {seconds:g} s")

    async def data(self, silence: float | None) -> bytes:
        """The next bytes of the body, b"" at its end. So many seconds without any are a failure."""
        with trio.move_on_after(silence if silence is not None else float("inf")) as scope:
            return await self._data()
        assert scope.cancelled_caught
        raise self.failed(f"nothing came for {silence:g} s in its answer")

    def recycle(self) -> bool:
        """Whether another request may follow; if so, it is ready for it."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        if self._h11.trailing_data[0]:
            return False
        self._h11.start_next_cycle()
        self.was_used = True
        return True

    def failed(self, what: str) -> AskFailed:
        """An error that says who was asked for what, and then this."""
        return AskFailed(f"{self._server}: {self._what}: {what}")

    # -- bytes -----------------------------------------------------------------------------------------

    def _bytes_of(self, request: Request) -> bytes:
        names = {name.lower() for name, _ in request.fields}
        fields = [("Host", self._server.authority), *request.fields]
        if request.body or request.method not in ("GET", "HEAD", "DELETE"):
            fields.append(("Content-Length", str(len(request.body))))
        fields += [(name, value) for name, value in OURS if name.lower() not in names]
        try:
            head = h11.Request(method=request.method, target=request.target, headers=fields)
            data = self._h11.send(head) or b""
            data += (self._h11.send(h11.Data(data=request.body)) or b"") if request.body else b""
            return data + (self._h11.send(h11.EndOfMessage()) or b"")
        except (h11.LocalProtocolError, UnicodeError):
            # What h11 says has the field in it.
            raise self.failed("its fields or its path cannot be sent in HTTP") from None

    async def _send(self, data: bytes) -> None:
        try:
            await self._dialled.stream.send_all(data)
        except BROKEN as exc:
            raise self._ended(in_words(exc)) from exc

    async def _head(self) -> Head:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                if (coding := fields.get("content-encoding", "identity")) != "identity":
                    raise self.failed(f"its answer is coded as {coding!r}, which was not asked for")
                return Head(event.status_code, fields)
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise self.failed("its answer has no head")

    async def _data(self) -> bytes:
        event = await self._event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        return b""

    async def _event(self) -> h11.Event:
        """The next one of what has come, one in each turn of the event loop. It waits where there is none."""
        if not self._has_waited:
            await trio.lowlevel.checkpoint()  # thousands may have come at once: interim heads, small chunks
        self._has_waited = False
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as exc:
                raise self._no_http(exc) from exc
            if event is h11.NEED_DATA:
                await self._receive()
            elif isinstance(event, h11.Event):
                return event
            else:
                raise self.failed("it went on after its answer")

    async def _receive(self) -> None:
        try:
            data = await self._dialled.stream.receive_some(RECEIVE_SIZE)
        except BROKEN as exc:
            raise self._ended(in_words(exc)) from exc
        self._has_waited = True
        if data:
            self._has_heard = True
        elif not self._has_heard:
            raise self._ended("it closed the connection without an answer")
        self._h11.receive_data(bytes(data))

    def _ended(self, why: str) -> AskFailed:
        kind = AskFailed if self._has_heard else Stale
        return kind(f"{self._server}: {self._what}: {why}")

    def _no_http(self, exc: h11.RemoteProtocolError) -> AskFailed:
        if self._h11.their_state is h11.ERROR and "closed" in str(exc):
            return self.failed("it closed the connection in the middle of its answer")
        return self.failed(f"its answer is not HTTP: {str(exc)[:EXCERPT]}")


OURS = (("User-Agent", "trio-lb"), ("Accept", "application/json"), ("Accept-Encoding", "identity"))
"""Fields of each request that does not bring its own."""
