"""The cast of these tests: backends with short names, requests that do as they are told, a clock by hand."""

from lb.core.backend import Backend, BackendSpec
from lb.core.registry import Registry


class Request:
    """Something that runs on a backend and, told to stop, stops when the test says so."""

    def __init__(self, name: str = "request") -> None:
        self.name = name
        self.cuts = 0

    def cut(self) -> None:
        self.cuts += 1

    def __repr__(self) -> str:
        return self.name


class Clock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def spec(id: str, weight: int = 1, cap: int | None = None) -> BackendSpec:
    return BackendSpec(id=id, url=f"http://{id}.test:80", weight=weight, max_in_flight=cap)


def backends(*weights: int) -> list[Backend]:
    """Backends a, b, c, ... of these weights, in no registry."""
    return [Backend(spec(chr(97 + i), weight), "default", "test", 0.0) for i, weight in enumerate(weights)]


class Scene:
    """A registry with one pool, the events that it told, and requests by number."""

    def __init__(self, *specs: BackendSpec, policy: str = "round_robin", queue_limit: int = 8) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.pool = self.registry.add_pool("default", policy, queue_limit)
        self.events: list[tuple[str, str, str]] = []
        for one in specs:
            self.registry.add(one)
        self.registry.subscribe(
            lambda event: self.events.append((event.kind, event.backend.id, event.detail))
        )

    def __getitem__(self, id: str) -> Backend:
        return self.registry.backend(id)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.events]

    def occupy(self, id: str, count: int = 1) -> list[Request]:
        """Requests that run on that backend, however the policy would have it."""
        requests = [Request(f"{id}{number}") for number in range(count)]
        for request in requests:
            taken, _ = self.pool.take(request, [b for b in self.pool.backends if b.id != id])
            assert taken is self[id]
        return requests
