"""Which pool a request goes to: the first route whose host and path prefix match."""

from collections.abc import Iterable
from typing import Protocol


class RouteLike(Protocol):
    """`host` is exact or `*.domain` (None is any), `path` a prefix in whole segments, `pool` a name."""

    @property
    def host(self) -> str | None: ...
    @property
    def path(self) -> str: ...
    @property
    def pool(self) -> str: ...


class Routes:
    """The routes in their order; a request that none matches goes to the pool `default`."""

    __slots__ = ("_default", "_routes")

    def __init__(self, routes: Iterable[RouteLike], default: str = "default") -> None:
        self._default = default
        self._routes = [
            (r.host and r.host.lower().encode(), r.path.rstrip("/").encode(), r.pool) for r in routes
        ]

    def pool_for(self, host: bytes, target: bytes) -> str:
        """The name of the pool; the port of `host` and the query of `target` play no part."""
        if not self._routes:
            return self._default
        name = _without_port(host.lower())
        path = target.partition(b"?")[0]
        for wanted, prefix, pool in self._routes:
            if _host_matches(wanted, name) and _path_matches(prefix, path):
                return pool
        return self._default


def _without_port(host: bytes) -> bytes:
    return host[: host.index(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]


def _host_matches(wanted: str | bytes | None, name: bytes) -> bool:
    if not wanted:
        return True
    pattern = wanted if isinstance(wanted, bytes) else wanted.encode()
    return name.endswith(pattern[1:]) if pattern.startswith(b"*.") else name == pattern


def _path_matches(prefix: bytes, path: bytes) -> bool:
    # Without a prefix even `*` matches, the target of an OPTIONS about the whole server.
    return not prefix or path == prefix or path.startswith(prefix + b"/")
