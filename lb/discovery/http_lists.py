"""Backends from a list that a server answers (`lb.discovery.lists`), asked for at intervals."""

import random
from collections.abc import Callable

import trio

from lb.core.announced import Announced
from lb.discovery.backend_source import SourceFailed
from lb.discovery.lists import reading
from lb.discovery.token_file import read_token
from lb.http_client.ask_failed import AskFailed
from lb.http_client.asker import Answer, Asker
from lb.http_client.server_url import server_of
from lb.slices import sliced

EVERY_SECONDS = 10.0
SPREAD = 0.1
"""How much earlier or later it asks, as a share, so that several balancers do not ask at once."""


class HttpSource:
    """Asks for `where`, a URL, every `every` seconds; with the token of a file, where there is one.

    An answer that has not changed, as its ETag says, is not sent and not read again.
    """

    kind = "http"

    def __init__(
        self,
        where: str,
        *,
        every: float = EVERY_SECONDS,
        token_file: str | None = None,
        ca: str | None = None,
        chain: str | None = None,
        key: str | None = None,
    ) -> None:
        server, self._target = server_of(where, ca=ca, chain=chain, key=key)
        self.where = where
        self._every = every
        self._token_file = token_file
        self._asker = Asker(server, keeps=True)
        self._etag = ""
        self._last: Announced | None = None

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """As in `Source`."""
        try:
            while True:
                tell(await self._ask())
                await trio.sleep(self._every * random.uniform(1 - SPREAD, 1 + SPREAD))
        except AskFailed as exc:
            raise SourceFailed(str(exc)) from exc
        finally:
            self._asker.close()

    async def _ask(self) -> Announced:
        fields = [("X-Prometheus-Refresh-Interval-Seconds", f"{self._every:g}")]
        if (token := await read_token(self._token_file)) is not None:
            fields.append(("Authorization", f"Bearer {token}"))
        if self._etag:
            fields.append(("If-None-Match", self._etag))
        answer = await self._asker.ask("GET", self._target, fields=tuple(fields))
        if self._last is not None and answer.status == 304:
            return self._last
        self._last = await self._read(answer.expect(200))
        self._etag = answer.fields.get("etag", "")
        return self._last

    async def _read(self, answer: Answer) -> Announced:
        try:
            return await sliced(reading(answer.body, self._every))
        except ValueError as exc:
            raise SourceFailed(f"{answer.asked}: {exc}") from exc
