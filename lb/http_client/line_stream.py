"""A body that is read line by line while it comes, as watches and streams of events are."""

from collections import deque

import trio

from lb.http_client.ask_failed import AskFailed
from lb.http_client.conversation import Conversation, Head

MOST_AT_ONCE = 1000
"""Lines after which a batch waits for no more."""


class Splitter:
    """Bytes to lines. A line is at most `longest` bytes; ValueError otherwise. Empty ones are left out."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that have ended with these bytes."""
        first, *others = data.split(b"\n")
        self._grow(first)
        if not others:
            return []
        *whole, rest = others
        lines = [self.rest(), *filter(None, whole)]
        if max(map(len, lines)) > self._longest:
            raise self._too_long()
        self._pieces, self._size = [], 0
        self._grow(rest)
        return [line for each in lines if (line := each.removesuffix(b"\r"))]

    def rest(self) -> bytes:
        """What has come of a line that has no end yet."""
        return b"".join(self._pieces)

    def _grow(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._longest:
            raise self._too_long()
        if piece:
            self._pieces.append(piece)

    def _too_long(self) -> ValueError:
        return ValueError(f"a line is longer than {self._longest} bytes")


class LineStream:
    """The lines of one answer, while its connection is open. `head` is that of the answer.

    A wait may be cancelled, and begun again: no line is lost. AskFailed where the stream broke, where nothing
    came for so long, and where it ends within a line.
    """

    def __init__(self, conversation: Conversation, head: Head, longest: int, silence: float | None) -> None:
        self.head = head
        self._conversation = conversation
        self._splitter = Splitter(longest)
        self._silence = silence
        self._lines: deque[bytes] = deque()
        self._has_ended = False
        self._failure: AskFailed | None = None

    async def next(self) -> bytes | None:
        """The next line without its end; None when the server has ended the stream as HTTP wants it."""
        while not self._lines and not self._has_ended:
            await self._receive()
        return self._lines.popleft() if self._lines else None

    async def batch(self, seconds: float) -> list[bytes]:
        """The next line, and those that come within so many seconds after it; none at the end, as above."""
        while not self._lines and not self._has_ended:
            await self._receive()
        with trio.move_on_after(seconds):
            while not self._has_ended and len(self._lines) < MOST_AT_ONCE:
                try:
                    await self._receive()
                except AskFailed as exc:
                    self._failure = exc  # which is told when all lines before it are
                    break
        lines = [*self._lines]
        self._lines.clear()
        return lines

    async def _receive(self) -> None:
        if self._failure is not None:
            raise self._failure
        data = await self._conversation.data(self._silence)
        if not data:
            self._has_ended = True
            if self._splitter.rest():
                raise self._conversation.failed("its stream ended within a line")
            return
        try:
            self._lines += self._splitter.feed(data)
        except ValueError as exc:
            raise self._conversation.failed(f"{exc} in its stream") from exc
