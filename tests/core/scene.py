"""What the tests of the core share: backends with short names, scripted requests, a clock set by hand."""

from collections.abc import Callable
from typing import Any

from lb.core.backend import Backend
from lb.core.health.probe_verdict import Check
from lb.core.pool import Pool
from lb.core.registry import PoolEvent, Registry
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings, Sticky


class Request:
    """A request that counts its cuts, and ends only when the test releases it."""

    def __init__(self, name: str = "request", address: str = "192.0.2.1", **fields: bytes) -> None:
        self.name = name
        self.address = address
        self.subject: str | None = None
        self.target = b"/"
        self.fields = {key.replace("_", "-").encode(): value for key, value in fields.items()}
        self.jar: dict[bytes, list[bytes]] = {}
        self.cuts = 0

    def field(self, name: bytes) -> bytes | None:
        return self.fields.get(name)

    def cookie(self, name: bytes) -> bytes | None:
        return next(iter(self.cookies(name)), None)

    def cookies(self, name: bytes) -> list[bytes]:
        return self.jar.get(name, [])

    def cut(self) -> None:
        self.cuts += 1

    def __repr__(self) -> str:
        return self.name


class Clock:
    """A clock that stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def spec(name: str, weight: int = 1, cap: int | None = None, **more: Any) -> BackendSpec:
    return BackendSpec(id=name, url=f"http://{name}.test:80", weight=weight, max_in_flight=cap, **more)


def registry(now: Callable[[], float]) -> Registry:
    """An empty registry, in which chance is always the middle and every key the same."""
    return Registry(now, chance=lambda: 0.5, secret=lambda _file: b"k" * 32)


def many_backends(count: int) -> list[Backend]:
    """So many of weight 1."""
    return [Backend(spec(f"b{number}"), "default", "test", 0.0) for number in range(count)]


def backends(*weights: int) -> list[Backend]:
    """Backends a, b, c, ... of these weights, in no registry."""
    return [Backend(spec(chr(97 + i), weight), "default", "test", 0.0) for i, weight in enumerate(weights)]


class Scene:
    """A registry with one pool, the events that it told, and requests by number."""

    def __init__(self, *specs: BackendSpec, queue: int = 8, **settings: Any) -> None:
        self.clock = Clock()
        self.registry = registry(self.clock)
        self.pool = self.registry.add_pool("default", PoolSettings(queue=queue, **settings))
        self.events: list[tuple[str, str, str]] = []
        self.pool_events: list[tuple[str, str]] = []
        for one in specs:
            self.registry.add(one)
        self.registry.subscribe(
            lambda event: self.events.append((event.kind, event.backend.id, event.detail)), self._on_pool
        )

    def _on_pool(self, event: PoolEvent) -> None:
        self.pool_events.append((event.kind, event.detail))

    def __getitem__(self, name: str) -> Backend:
        return self.registry.backend(name)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.events]

    def occupy(self, name: str, count: int = 1) -> list[Request]:
        """Requests that run on that backend, whatever the policy would choose."""
        requests = [Request(f"{name}{number}") for number in range(count)]
        for request in requests:
            taken, _ = self.pool.take(request, [b for b in self.pool.backends if b.id != name])
            assert taken is self[name]
        return requests


def check(scene: Scene, name: str, ok: bool) -> None:
    """The result of a probe."""
    scene.registry.checked(scene[name], Check(ok, "ok 200" if ok else "refused", 0.1, scene.clock.now))


def taken(scene: Scene, count: int = 6) -> set[str]:
    """The backends that get the next requests, each of which ends at once."""
    ids = set()
    for _ in range(count):
        request = Request()
        backend, _ = scene.pool.take(request)
        if backend is not None:
            ids.add(backend.id)
            scene.pool.release(backend, request)
    return ids


def later(scene: Scene, seconds: float) -> float | None:
    """Let time pass; when something will be due."""
    scene.clock.now += seconds
    return scene.registry.expire(scene.clock.now)


def client_of(scene: Scene, backend: Backend) -> Request:
    """A client that has been on this backend before."""
    request = Request()
    tie(request, scene.pool, backend)
    return request


def tie(request: Request, pool: Pool, backend: Backend) -> None:
    """Give the request the cookie of a client that has been on this backend before."""
    assert pool.sticky is not None
    line = pool.sticky.cookie_line(request, backend)
    name, _, value = line.removeprefix(b"Set-Cookie: ").partition(b"=")
    request.jar[name] = [value.partition(b";")[0]]


def sticky(**settings: Any) -> Scene:
    return Scene(spec("a"), spec("b"), sticky=Sticky(cookie="at"), **settings)
