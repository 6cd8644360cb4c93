"""Backends that are instances of a service of Consul, by its health API and blocking queries.

An answer may be good HTTP and no set: one that has been made without a leader, or with a token that may not
see all, is a failure.
"""

import re
from collections.abc import Callable
from urllib.parse import quote

import trio

from lb.core.announced import Announced
from lb.discovery.backend_source import SourceFailed
from lb.discovery.blocking_index import BlockingIndex
from lb.discovery.collected import UNREADABLE
from lb.discovery.consul_health import reading
from lb.discovery.token_file import read_token
from lb.http_client.ask_failed import AskFailed
from lb.http_client.asker import Answer, Asker
from lb.http_client.conversation import Fields
from lb.http_client.server_url import server_of
from lb.slices import sliced

SERVICE = re.compile(r"/([^/?#]{1,255})/?(?:\?([^#]*))?")
WAIT_SECONDS = 55
HEAD_SECONDS = 75.0
"""Consul waits up to a sixteenth longer than it was asked to."""


class ConsulSource:
    """The service of a URL, as http://127.0.0.1:8500/web; a query as ?dc=east goes with each question."""

    kind = "consul"

    def __init__(
        self,
        where: str,
        *,
        token_file: str | None = None,
        ca: str | None = None,
        chain: str | None = None,
        key: str | None = None,
    ) -> None:
        server, target = server_of(where, ca=ca, chain=chain, key=key)
        match = SERVICE.fullmatch(target)
        if match is None:
            raise ValueError(f"{where!r}: expected the URL of a Consul and a service, as {server}/web")
        self.where = where
        self._path = f"/v1/health/service/{quote(match[1], safe='%')}"
        self._query = f"&{match[2]}" if match[2] else ""
        self._token_file = token_file
        self._asker = Asker(server, keeps=True)

    def look_again(self) -> None:
        """A connection to a backend has failed; of what there is Consul tells anyway."""

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """As in `Source`."""
        at = BlockingIndex()
        try:
            while True:
                answer = await self._ask(at.index)
                pause = at.answered(answer.fields.get("x-consul-index", ""), trio.current_time())
                tell(await self._read(answer))
                await trio.sleep(pause)
        except AskFailed as exc:
            raise SourceFailed(str(exc)) from exc
        finally:
            self._asker.close()

    async def _ask(self, index: int) -> Answer:
        """The answer to a question that waits for a change since `index`; 0 does not wait."""
        target = f"{self._path}?index={index}&wait={WAIT_SECONDS}s{self._query}"
        answer = await self._asker.ask("GET", target, fields=await self._fields(), head_seconds=HEAD_SECONDS)
        answer.expect(200)
        if answer.fields.get("x-consul-knownleader", "true").lower() == "false":
            raise SourceFailed(f"{answer.asked}: it knows no leader, so its answer may be old or empty")
        if answer.fields.get("x-consul-results-filtered-by-acls", "false").lower() == "true":
            raise SourceFailed(f"{answer.asked}: its answer leaves out what our token may not see")
        return answer

    async def _fields(self) -> Fields:
        token = await read_token(self._token_file)
        return (("X-Consul-Token", token),) if token is not None else ()

    async def _read(self, answer: Answer) -> Announced:
        try:
            return await sliced(reading(answer.body))
        except UNREADABLE as exc:
            raise SourceFailed(f"{answer.asked}: it is no list of instances: {exc}") from exc
