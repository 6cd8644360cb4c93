"""A source that says what a test says, when it says it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing

from lb.config.loader import build
from lb.core.announced import Announced
from lb.core.registry import Registry
from lb.discovery.backend_source import Source, SourceFailed
from lb.discovery.source_keeper import Discovery
from lb.settings.balancer_settings import Config
from lb.settings.discover_settings import Discover
from tests.core.discovery_world import announced


class Scripted:
    """The source of one name, over all its runs; `runs` says at which times it was asked."""

    kind = "files"
    where = "script"

    def __init__(self) -> None:
        self.runs: list[float] = []
        self.ended = 0
        self._tell: Callable[[Announced], None] | None = None
        self._failure = trio.Event()
        self.fails_at_once: str | None = None
        self.is_another = False

    def accept(self) -> bool:
        """As the one of etcd has it, of which the data were wiped."""
        was, self.is_another = self.is_another, False
        return was

    async def run(self, tell: Callable[[Announced], None]) -> None:
        self.runs.append(trio.current_time())
        self._tell, self._failure = tell, trio.Event()
        try:
            if self.fails_at_once is None:
                await self._failure.wait()
                raise SourceFailed("it was said to fail")
            await trio.lowlevel.checkpoint()
            raise SourceFailed(self.fails_at_once)
        finally:
            self.ended += 1

    def says(self, *words: str) -> None:
        assert self._tell is not None
        self._tell(announced(*words))

    def fails(self) -> None:
        self._failure.set()


def config(**tables: object) -> Config:
    """One pool `web` with these sources, by name."""
    sources = [{"files": "x", "name": name, **dict(table or {})} for name, table in tables.items()]  # type: ignore[call-overload]
    return build({"pools": {"web": {"discover": sources}}})


class Keeping:
    """A registry whose backends are found by scripted sources."""

    def __init__(self, wanted: Config) -> None:
        self.config = wanted
        self.registry = Registry(trio.current_time, lambda: 0.5, lambda _file: b"k" * 32)
        self.events: list[tuple[float, str, str]] = []
        self.pool_events: list[tuple[str, str]] = []
        for name, pool in wanted.pools.items():
            self.registry.add_pool(name, pool.settings)
        self.registry.subscribe(
            lambda event: self.events.append((trio.current_time(), event.kind, event.backend.id)),
            lambda event: self.pool_events.append((event.kind, event.detail)),
        )
        self.scripts: dict[str, Scripted] = {}
        self.lock = trio.Lock()
        self.discovery = Discovery(self.registry, lambda: self.config, self.lock, self._make, lambda: 0.5)

    def _make(self, settings: Discover, _pool: str) -> Source:
        return self.scripts.setdefault(settings.name, Scripted())

    def __getitem__(self, name: str) -> Scripted:
        return self.scripts[name]

    @property
    def there(self) -> dict[str, str]:
        return {each.id: each.notice.value for each in self.registry.pools["web"].backends}

    def configure(self, wanted: Config) -> None:
        self.config = wanted
        self.discovery.configured()


@asynccontextmanager
async def keeping(wanted: Config) -> AsyncIterator[Keeping]:
    """The keeper runs, and its sources have been asked."""
    kept = Keeping(wanted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.discovery.run)
        await trio.testing.wait_all_tasks_blocked()
        yield kept
        nursery.cancel_scope.cancel()
