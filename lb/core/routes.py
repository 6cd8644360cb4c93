"""Which pool a request goes to: the first route whose host and path prefix match.

A route is compared with what a request names, not with how it spells it: hosts in lower case, decoded,
without port and final dot; paths as `lb.core.request_path` reads them, unless the path policy is `exact`.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Literal, Protocol
from urllib.parse import unquote_to_bytes

from lb.core.request_path import SPELLED, doubt, reading, readings, stray_readings
from lb.errors import BadRequest

HOSTS = 256
"""Hosts whose names are cached."""
PathPolicy = Literal["normalise", "reject", "exact"]


class RouteLike(Protocol):
    """`host` is exact or `*.domain` (None is any), `path` a prefix in whole segments, `pool` a name."""

    @property
    def host(self) -> str | None: ...
    @property
    def path(self) -> str: ...
    @property
    def pool(self) -> str: ...


class Routes:
    """The routes in their order; a request that none matches goes to the pool `default`.

    `path_policy` says what becomes of paths that can be spelled in other ways: `normalise` compares their
    usual reading, `reject` also refuses those that backends read in different ways, `exact` compares bytes.
    """

    __slots__ = ("_is_needed", "_otherwise", "_policy", "_routes")

    def __init__(
        self,
        routes: Iterable[RouteLike],
        default: str = "default",
        path_policy: PathPolicy = "normalise",
    ) -> None:
        routes = list(routes)
        self._policy = path_policy
        self._routes = [
            (_wanted((route.host or "").encode()), self._prefix(route.path.encode()), (place, route.pool))
            for place, route in enumerate(routes)
        ]
        self._otherwise = len(routes), default
        self._is_needed = bool(self._routes) or path_policy == "reject"

    def _prefix(self, path: bytes) -> bytes:
        return (path if self._policy == "exact" else reading(path)).rstrip(b"/")

    def pool_for(self, host: bytes, target: bytes) -> str:
        """The name of the pool; the port of `host` and the query of `target` play no part.

        Raises BadRequest for a path that the path policy refuses, and for one that goes to different pools
        in different readings, unless the policy is `exact`. Of readings that few servers have, only those of
        an earlier route count: what it keeps to its own pool is not to be reached in another one.
        """
        if not self._is_needed:
            return self._otherwise[1]
        name, path = host_name(host), target.partition(b"?")[0]
        if SPELLED.search(path) is None or self._policy == "exact":
            return self._match(name, path)[1]
        if self._policy == "reject" and (why := doubt(path)) is not None:
            raise BadRequest(why)
        (first, pool), *others = [self._match(name, each) for each in readings(path)]
        if any(other != pool for _, other in others):
            raise BadRequest(
                "the path has a backslash or a semicolon, and backends read it in different ways"
            )
        strays = [self._match(name, each) for each in stray_readings(path)] if first else []
        if any(place < first and other != pool for place, other in strays):
            raise BadRequest("the path has `..` or begins with `//`, and backends read it in different ways")
        return pool

    def _match(self, name: bytes, path: bytes) -> tuple[int, str]:
        """The place and the pool of the first route that matches."""
        for wanted, prefix, found in self._routes:
            if _host_matches(wanted, name) and _path_matches(prefix, path):
                return found
        return self._otherwise


@lru_cache(HOSTS)
def host_name(host: bytes) -> bytes:
    """The name in a valid Host, in one spelling: lower case, decoded, without port and final dot.

    An IPv6 address is written as RFC 5952 has it.
    """
    name = host.lower()
    if name.startswith(b"["):
        return _ipv6(name[1:].partition(b"]")[0])
    name = name.partition(b":")[0].removesuffix(b".")
    return unquote_to_bytes(name).lower().removesuffix(b".") if b"%" in name else name


def _ipv6(address: bytes) -> bytes:
    try:
        return b"[%b]" % IPv6Address(address.decode("latin-1")).compressed.encode()
    except ValueError:
        return b"[%b]" % address


def _wanted(host: bytes) -> bytes:
    """The host of a route as `host_name` has it, of a wildcard what is behind its `*`; b"" is any host."""
    return b"." + host_name(host[2:]) if host.startswith(b"*.") else host_name(host)


def _host_matches(wanted: bytes, name: bytes) -> bool:
    return name == wanted or not wanted or (wanted.startswith(b".") and name.endswith(wanted))


def _path_matches(prefix: bytes, path: bytes) -> bool:
    # Without a prefix even `*` matches, the target of an OPTIONS about the whole server.
    return not prefix or path == prefix or path.startswith(prefix + b"/")
