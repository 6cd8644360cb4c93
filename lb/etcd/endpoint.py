"""One endpoint of etcd: a call with a deadline, or a watch. Nothing is tried elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
import trio

from lb.etcd.etcd_failed import EtcdFailed, NoAnswer, Refused, StaleToken, WatchEnded, refusal
from lb.etcd.etcd_messages import (
    Authenticate,
    CreateWatch,
    Refusal,
    Token,
    Watch,
    WatchAnswer,
    WatchLine,
    decode,
    end_of,
)
from lb.etcd.login import Login
from lb.http_client.ask_failed import AskFailed, NotReached
from lb.http_client.asker import Asker, Patience
from lb.http_client.line_stream import LineStream
from lb.http_client.server_url import Server

Answer = TypeVar("Answer", bound=msgspec.Struct)
AUTHENTICATE = "/v3/auth/authenticate"
WATCH = "/v3/watch"
TRANSACTION = "/v3/kv/txn"
FAILED_PRECONDITION = 9
"""What etcd says to a password where it has no users."""
BCRYPT = 5.0
"""Seconds that etcd may take for a password."""
HAS_LEADER = (("Grpc-Metadata-hasleader", "true"),)
"""With it a watch is refused, or ends within seconds, where the endpoint has lost its leader."""


class Endpoint:
    """It is asked, and has `seconds` for an answer. The login may be shared with others.

    `silent_since` is when the first of the last calls that had no answer ended, None after one that had.
    """

    def __init__(self, server: Server, login: Login, seconds: float) -> None:
        self._asker = Asker(server, patience=Patience(seconds, seconds, seconds, seconds), keeps=True)
        self._login = login
        self._seconds = seconds
        self.silent_since: float | None = None

    def __str__(self) -> str:
        return str(self._asker.server)

    def close(self) -> None:
        """Close the connection that is kept."""
        self._asker.close()

    async def call(self, path: str, request: msgspec.Struct, kind: type[Answer]) -> Answer:
        """The answer; EtcdFailed where there is none of use. A token that has ended is renewed once."""
        token = await self._token()
        try:
            return await self._post(path, request, kind, self._seconds)
        except StaleToken:
            if not self._login.user:
                raise
        await self._renew(token)
        return await self._post(path, request, kind, self._seconds)

    @asynccontextmanager
    async def open_watch(self, prefix: bytes, revision: int) -> AsyncIterator["WatchStream"]:
        """Events of the keys with this prefix, from this revision on. WatchEnded where there are none."""
        await self._token()
        request = CreateWatch(Watch(key=prefix, range_end=end_of(prefix), start_revision=revision))
        try:
            async with self._asker.open_lines(
                "POST",
                WATCH,
                fields=(*self._login.fields, *HAS_LEADER),
                body=msgspec.json.encode(request),
                head_seconds=self._seconds,
            ) as lines:
                stream = WatchStream(lines, str(self))
                await self._created(stream)
                yield stream
        except AskFailed as exc:
            raise WatchEnded(str(exc), "broken") from exc

    async def _created(self, stream: "WatchStream") -> None:
        with trio.move_on_after(self._seconds):
            await stream.next()
            return
        raise WatchEnded(f"{self}: no watch within {self._seconds:g} s", "broken")

    # -- who we are ------------------------------------------------------------------------------------

    async def _token(self) -> str | None:
        if self._login.token is None:
            await self._renew(None)
        return self._login.token

    async def _renew(self, stale: str | None) -> None:
        """Show the password, unless another call has done it since."""
        if self._login.token != stale:
            return
        request = Authenticate(self._login.user, await self._login.show())
        try:
            self._login.token = (await self._post(AUTHENTICATE, request, Token, BCRYPT)).token
        except Refused as exc:
            if exc.code != FAILED_PRECONDITION:
                raise
            self._login.token = ""

    # -- bytes -----------------------------------------------------------------------------------------

    async def _post(self, path: str, request: msgspec.Struct, kind: type[Answer], seconds: float) -> Answer:
        """As `_exchange`; whether it is silent is known afterwards. That it says no is an answer."""
        try:
            answer = await self._exchange(path, request, kind, seconds)
        except NoAnswer:
            if self.silent_since is None:
                self.silent_since = trio.current_time()
            raise
        except EtcdFailed:
            self.silent_since = None
            raise
        self.silent_since = None
        return answer

    async def _exchange(
        self, path: str, request: msgspec.Struct, kind: type[Answer], seconds: float
    ) -> Answer:
        try:
            with trio.fail_after(seconds):
                answer = await self._asker.ask(
                    "POST",
                    path,
                    fields=() if path == AUTHENTICATE else self._login.fields,
                    body=msgspec.json.encode(request),
                    head_seconds=seconds,
                    may_repeat=path != TRANSACTION,
                )
        except trio.TooSlowError as exc:
            raise NoAnswer(f"{self}: no answer within {seconds:g} s") from exc
        except NotReached as exc:
            raise NoAnswer(str(exc), is_undone=True) from exc
        except AskFailed as exc:
            raise NoAnswer(str(exc)) from exc
        if answer.status != 200:
            raise self._refused(answer.status, answer.body)
        try:
            return decode(answer.body, kind)
        except ValueError as exc:
            raise NoAnswer(f"{self}: what it answered is not etcd's: {exc}") from exc

    def _refused(self, status: int, body: bytes) -> EtcdFailed:
        try:
            said = decode(body, Refusal)
        except ValueError:
            hint = "; its JSON gateway is switched off" if status == 404 else ""
            return NoAnswer(f"{self}: it answered {status}{hint}", is_undone=status == 404)
        return refusal(str(self), said.message or said.error, said.code or said.grpc_code)


class WatchStream:
    """What comes on a watch. Whatever means that no more will come is WatchEnded."""

    def __init__(self, lines: LineStream, where: str) -> None:
        self._lines = lines
        self._where = where

    async def next(self) -> WatchAnswer:
        """The next answer: with events, or a sign of life."""
        await trio.lowlevel.checkpoint()  # many lines may have come at once
        try:
            line = await self._lines.next()
        except AskFailed as exc:
            raise WatchEnded(str(exc), "broken") from exc
        if line is None:
            raise WatchEnded(f"{self._where}: it has ended the watch", "broken")
        try:
            said = decode(line, WatchLine)
        except ValueError as exc:
            raise WatchEnded(f"{self._where}: a line of its watch is not etcd's: {exc}", "broken") from exc
        if said.error is not None:
            words = said.error.message or said.error.error
            raise WatchEnded(f"{self._where}: it has ended the watch: {words}", "canceled")
        if said.result is None:
            raise WatchEnded(f"{self._where}: a line of its watch is empty", "broken")
        if said.result.canceled:
            raise self._canceled(said.result)
        return said.result

    def _canceled(self, said: WatchAnswer) -> WatchEnded:
        """etcd says it once and leaves the connection open, in silence."""
        if said.compact_revision:
            return WatchEnded(f"{self._where}: what was to be told next is compacted", "compacted")
        return WatchEnded(
            f"{self._where}: it has canceled the watch: {said.cancel_reason or 'no reason'}", "canceled"
        )
