"""Backends that are containers of one Docker, by their labels: its list, and its stream of events.

The stream is opened first, so that nothing is lost between the two. After an event the whole list is asked
for again, a moment later, since events come in swarms. `docker stop` tells of a signal before the container
ends: then it is leaving, and its drain runs while it may still answer. It is until it has ended or been
started anew.

Docker repeats its last events to those who ask. So a source that has just begun knows who is leaving, and
nothing is missed between two streams. Proxies of the socket end one that is calm for long. So its end is no
failure if the next one can be opened.
"""

import time
from collections.abc import Callable
from urllib.parse import quote

import msgspec
import trio

from lb.core.announced import Announced
from lb.discovery.backend_source import SourceFailed
from lb.discovery.collected import UNREADABLE
from lb.discovery.docker_containers import (
    POOL,
    SURE,
    Event,
    event_of,
    inspected_of,
    reading,
    signal_number,
)
from lb.http_client.ask_failed import AskFailed
from lb.http_client.asker import Asker
from lb.http_client.line_stream import LineStream
from lb.http_client.server_url import server_of
from lb.slices import sliced

SWARM_SECONDS = 0.2
"""How long events are gathered before the list is asked for."""
LOOK_SECONDS = 30.0
"""How long the list stands without an event: not all that may change it has one."""
MEMORY_SECONDS = 3600.0
"""From how long ago on it wants to hear what was told to end. Docker remembers 256 events."""
SHORTEST_SECONDS = 1.0
"""A stream that ends sooner is a failure."""


class DockerSource:
    """Asks the Docker at `where`, `unix:/path`, `tcp://host:port` or a URL, for the containers of a pool."""

    kind = "docker"

    def __init__(
        self,
        where: str,
        *,
        pool: str,
        ca: str | None = None,
        chain: str | None = None,
        key: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.where = where
        server, _ = server_of(_url(where, is_tls=bool(ca or chain)), ca=ca, chain=chain, key=key)
        self._pool = pool
        self._asker = Asker(server, keeps=True)
        self._now = now
        self._leaving: set[str] = set()

    def look_again(self) -> None:
        """A connection to a backend has failed; of what there is Docker tells anyway."""

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """As in `Source`."""
        self._leaving.clear()
        try:
            while True:
                began = trio.current_time()
                why = await self._follow(tell)
                if trio.current_time() - began < SHORTEST_SECONDS:
                    raise SourceFailed(why)
        except AskFailed as exc:
            raise SourceFailed(str(exc)) from exc
        finally:
            self._asker.close()

    async def _follow(self, tell: Callable[[Announced], None]) -> str:
        """Tell the list and each later one, until the stream ends; returns how."""
        async with self._asker.open_lines("GET", self._events()) as events:
            await self._heard(await self._repeated(events))
            while True:
                tell(await self._list())
                if (why := await self._news(events)) is not None:
                    return why

    async def _repeated(self, events: LineStream) -> list[bytes]:
        """What Docker repeats at once; nothing where it remembers nothing."""
        with trio.move_on_after(SWARM_SECONDS):
            return await events.batch(SWARM_SECONDS / 2)
        return []

    def _events(self) -> str:
        """Where the events of containers of this pool are, those that Docker remembers first."""
        filters = {"type": ["container"], "label": [f"{POOL}={self._pool}"]}
        return f"/events?since={int(self._now() - MEMORY_SECONDS)}&filters={_in_query(filters)}"

    async def _list(self) -> Announced:
        filters = _in_query({"label": [f"{POOL}={self._pool}"]})
        answer = (await self._asker.ask("GET", f"/containers/json?filters={filters}")).expect(200)
        try:
            return await sliced(reading(answer.body, self._pool, self._leaving))
        except UNREADABLE as exc:
            raise SourceFailed(f"{answer.asked}: it is no list of containers: {exc}") from exc

    async def _news(self, events: LineStream) -> str | None:
        """Wait until it is time for the list again; how the stream has ended where it has."""
        deadline = trio.current_time() + LOOK_SECONDS
        while True:
            try:
                with trio.move_on_at(deadline) as scope:
                    lines = await events.batch(SWARM_SECONDS)
            except AskFailed as exc:
                return str(exc)
            if scope.cancelled_caught or (lines and await self._heard(lines)):
                return None
            if not lines:
                return f"{self._asker.server}: GET /events: its stream of events ended"

    async def _heard(self, lines: list[bytes]) -> bool:
        """Remember who was told to end; whether the list may be another one."""
        is_news = False
        for line in lines:
            await trio.lowlevel.checkpoint()  # thousands may have come at once
            try:
                event = event_of(line)
            except UNREADABLE as exc:
                raise SourceFailed(f"{self._asker.server}: GET /events: {exc}") from exc
            is_news |= event.is_news
            if event.action == "kill" and await self._ends(event):
                self._leaving.add(event.actor.id)
            elif event.action in ("die", "start", "destroy"):
                self._leaving.discard(event.actor.id)
        return is_news

    async def _ends(self, event: Event) -> bool:
        """Whether the signal ends its container: most do not, as SIGHUP, but an image may say otherwise."""
        sent = signal_number(event.actor.attributes.get("signal", ""))
        if sent in SURE or not sent:
            return sent in SURE
        answer = await self._asker.ask("GET", f"/containers/{quote(event.actor.id, safe='')}/json")
        if answer.status != 200:
            return False
        try:
            return signal_number(inspected_of(answer.body).config.stop_signal) == sent
        except UNREADABLE:
            return False


def _url(where: str, *, is_tls: bool) -> str:
    """The URL of what is written as in DOCKER_HOST."""
    kind, _, rest = where.partition("://")
    if kind == "tcp":
        return f"{'https' if is_tls else 'http'}://{rest}"
    return f"unix:{rest}" if kind == "unix" else where


def _in_query(filters: dict[str, list[str]]) -> str:
    return quote(msgspec.json.encode(filters), safe="")
