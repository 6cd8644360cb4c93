"""Asks one server: for an answer, or for a stream of lines.

A connection is used for one question unless `keeps` is set. Then it is kept for the next one; if it turns
out to have ended meanwhile, the question is asked once more on a new one, where that is harmless. Questions
of several tasks at once have connections of their own.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from lb.http_client.ask_failed import AskFailed, Stale
from lb.http_client.conversation import Conversation, Fields, Head, Request
from lb.http_client.dialled import dial
from lb.http_client.line_stream import LineStream
from lb.http_client.server_url import Server

HARMLESS = frozenset(("GET", "HEAD"))
EXCERPT = 200
LARGEST_REFUSAL = 64 * 1024


class Patience(NamedTuple):
    """Seconds until asking fails.

    They are for a connection, for the head of an answer, between two pieces of its body, and for all of the
    body where it is no stream.
    """

    connect: float = 5.0
    head: float = 10.0
    silence: float = 10.0
    body: float = 60.0


class Bounds(NamedTuple):
    """Most bytes of an answer, and of a line of a stream."""

    answer: int = 64 * 1024 * 1024
    line: int = 4 * 1024 * 1024


class Answer(NamedTuple):
    """A whole answer. `asked` is who was asked for what, for messages."""

    asked: str
    status: int
    fields: dict[str, str]
    body: bytes

    def expect(self, *statuses: int) -> "Answer":
        """This answer, if it has one of these statuses; AskFailed otherwise."""
        if self.status in statuses:
            return self
        said = self.body[:EXCERPT].decode(errors="replace")
        words = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        raise AskFailed(
            f"{self.asked}: it answered {self.status}{f': {words}' if words else ''}", self.status, self.body
        )


class Asker:
    """Asks `server`. `fields` go with each request; they are never in a message.

    It may be used by several tasks. `close` closes the connection that is kept, and need not be awaited.
    """

    def __init__(
        self,
        server: Server,
        *,
        fields: Fields = (),
        patience: Patience = Patience(),  # noqa: B008  (a tuple)
        bounds: Bounds = Bounds(),  # noqa: B008
        keeps: bool = False,
    ) -> None:
        self.server = server
        self._fields = fields
        self._patience = patience
        self._bounds = bounds
        self._keeps = keeps
        self._kept: Conversation | None = None

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    async def ask(
        self,
        method: str,
        target: str,
        *,
        fields: Fields = (),
        body: bytes = b"",
        head_seconds: float | None = None,
        may_repeat: bool | None = None,
    ) -> Answer:
        """The whole answer, whatever its status. AskFailed where there is none.

        `head_seconds` is how long to wait for its head, where the server is asked to wait itself.
        `may_repeat`: it is harmless to ask twice; GET and HEAD are unless it says otherwise.
        """
        request = self._request(method, target, fields, body)
        repeats = method in HARMLESS if may_repeat is None else may_repeat
        async with self._asked(request, head_seconds, repeats) as (conversation, head):
            content = await self._content(conversation, self._bounds.answer)
        return Answer(f"{self.server}: {request}", head.status, head.fields, content)

    @asynccontextmanager
    async def open_lines(
        self,
        method: str,
        target: str,
        *,
        fields: Fields = (),
        body: bytes = b"",
        silence: float | None = None,
        head_seconds: float | None = None,
    ) -> AsyncIterator[LineStream]:
        """The lines of an answer while they come; its connection is closed after the block.

        AskFailed for any status but 200. `silence` is for how many seconds nothing may come; None is for
        ever, where a server is calm for long. A peer that is gone is noticed all the same, by TCP.
        """
        request = self._request(method, target, fields, body)
        conversation = Conversation(self.server, await dial(self.server, self._patience.connect))
        try:
            head = await conversation.ask(request, head_seconds or self._patience.head)
            if head.status != 200:
                said = await self._content(conversation, LARGEST_REFUSAL)
                Answer(f"{self.server}: {request}", head.status, head.fields, said).expect(200)
            yield LineStream(conversation, head, self._bounds.line, silence)
        finally:
            conversation.close()

    def _request(self, method: str, target: str, fields: Fields, body: bytes) -> Request:
        return Request(method, target, (*self._fields, *fields), body)

    @asynccontextmanager
    async def _asked(
        self, request: Request, head_seconds: float | None, repeats: bool
    ) -> AsyncIterator[tuple[Conversation, Head]]:
        """A conversation that has the head of its answer. It is kept where all went well."""
        conversation, head = await self._begin(request, head_seconds or self._patience.head, repeats)
        try:
            yield conversation, head
        except BaseException:
            conversation.close()
            raise
        self._give_back(conversation)

    async def _begin(self, request: Request, seconds: float, repeats: bool) -> tuple[Conversation, Head]:
        conversation = self._take()
        if conversation is not None and repeats:
            try:
                return conversation, await _ask(conversation, request, seconds)
            except Stale:
                conversation = None
        if conversation is None:
            conversation = Conversation(self.server, await dial(self.server, self._patience.connect))
        return conversation, await _ask(conversation, request, seconds)

    def _take(self) -> Conversation | None:
        """The kept connection, if it may still be used."""
        kept, self._kept = self._kept, None
        if kept is not None and not kept.is_quiet:
            kept.close()
            return None
        return kept

    def _give_back(self, conversation: Conversation) -> None:
        if self._keeps and self._kept is None and conversation.recycle():
            self._kept = conversation
        else:
            conversation.close()

    async def _content(self, conversation: Conversation, most: int) -> bytes:
        with trio.move_on_after(self._patience.body) as scope:
            return await self._pieces(conversation, most)
        assert scope.cancelled_caught
        raise conversation.failed(f"its answer has not ended after {self._patience.body:g} s")

    async def _pieces(self, conversation: Conversation, most: int) -> bytes:
        pieces, size = [], 0
        while data := await conversation.data(self._patience.silence):
            pieces.append(data)
            size += len(data)
            if size > most:
                raise conversation.failed(f"its answer is larger than {most} bytes")
        return b"".join(pieces)


async def _ask(conversation: Conversation, request: Request, seconds: float) -> Head:
    """As `Conversation.ask`; the connection is closed where it fails."""
    try:
        return await conversation.ask(request, seconds)
    except BaseException:
        conversation.close()
        raise
