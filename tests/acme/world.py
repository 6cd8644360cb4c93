"""A renewer among authorities in memory, on virtual time: what it installs, what it tells, what it asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx
import trio

from lb.acme.answers import CHALLENGE_PATH, Answers
from lb.acme.fetching import Waits
from lb.acme.issuing import Surroundings
from lb.acme.renewer import Renewer
from lb.acme.storage import Pair, Storage
from lb.core.renewal_view import Kind, RenewalEvent
from lb.settings.acme_settings import AcmeSettings
from tests.acme.authority import Authority, from_socket

T = TypeVar("T")
RARE_LOOKS = Waits(look=6 * 3600.0)
START = 1_800_000_000.0
NAME = "www.example.com"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


async def at_once(call: Callable[..., T], *arguments: object) -> T:
    """In place of a thread, which would let virtual time jump."""
    await trio.lowlevel.checkpoint()
    return call(*arguments)


@dataclass
class World:
    """`folder` is the storage of all renewers here."""

    folder: Path
    names: list[str] = field(default_factory=lambda: [NAME])
    settings: dict[str, Any] = field(default_factory=dict)
    offset: float = 0.0
    authorities: list[Authority] = field(default_factory=list)
    installed: list[tuple[float, tuple[str, ...], bytes, bytes]] = field(default_factory=list)
    told: list[tuple[float, RenewalEvent]] = field(default_factory=list)
    trial: Callable[[str, str, bytes], str | None] | None = None
    waits: Waits = field(default_factory=Waits)
    """With a look at the folder in each minute. A test of months has fewer."""

    def __post_init__(self) -> None:
        self._began = trio.current_time()
        if not self.authorities:
            self.authorities = [self.authority()]

    def authority(self, host: str = "ca.test", **attributes: Any) -> Authority:
        return Authority(self.folder, self.now, host, **attributes)

    @property
    def ca(self) -> Authority:
        return self.authorities[0]

    def now(self) -> float:
        return START + trio.current_time() - self._began + self.offset

    @property
    def time(self) -> float:
        return self.now() - START

    @asynccontextmanager
    async def client(self, ca: str | None) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self._route), trust_env=False) as client:
            yield client

    async def _route(self, request: httpx.Request) -> httpx.Response:
        found = [each for each in self.authorities if each.host == request.url.host]
        assert found, f"nobody has {request.url}"
        return from_socket(await found[0].answer(request))

    @property
    def around(self) -> Surroundings:
        return Surroundings(self.now, self.waits, self.client, at_once)

    def acme(self) -> AcmeSettings:
        values: dict[str, Any] = {
            "names": tuple(self.names),
            "storage": str(self.folder),
            "directory": tuple(each.directory for each in self.authorities),
            "contact": ("ops@example.com",),
            "terms_agreed": True,
        }
        return AcmeSettings(**(values | self.settings)).checked()

    def renewer(self, seed: int = 1) -> Renewer:
        return Renewer(
            self.acme(),
            lambda: self.names,
            self._install,
            self._hear,
            self.around,
            Random(seed).random,
            self._try,
        )

    def _install(self, name: str, pair: Pair) -> None:
        self.installed.append((self.time, (name,), pair.chain, pair.key))

    def _hear(self, event: RenewalEvent) -> None:
        self.told.append((self.time, event))

    async def _try(self, name: str, token: str, body: bytes, seconds: float) -> str | None:
        """The rehearsal: what the data plane answers, unless a test has something else answer."""
        await trio.lowlevel.checkpoint()
        if self.trial is not None:
            return self.trial(name, token, body)
        assert Answers(self.folder).http_answer(name, token) == body, CHALLENGE_PATH + token
        return None

    @asynccontextmanager
    async def running(self, *renewers: Renewer) -> AsyncIterator[Renewer]:
        """One or several renewers run until the block ends."""
        several = renewers or (self.renewer(),)
        async with trio.open_nursery() as nursery:
            for renewer in several:
                nursery.start_soon(renewer.run)
            yield several[0]
            nursery.cancel_scope.cancel()

    # -- what came of it ---------------------------------------------------------------------------------

    def events(self, kind: Kind) -> list[tuple[float, RenewalEvent]]:
        return [(at, event) for at, event in self.told if event.kind is kind]

    def failures(self) -> list[str]:
        return [event.text for _, event in self.events(Kind.FAILED)]

    def times(self, kind: Kind) -> list[float]:
        return [at for at, _ in self.events(kind)]

    @property
    def storage(self) -> Storage:
        return Storage(self.folder)
