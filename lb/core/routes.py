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
from lb.core.route_table import RouteTable
from lb.errors import BadRequest

HOSTS = 256
"""Hosts whose names are cached."""
ANY_LABEL = b"?"
"""Stands for the labels of a host of which a route says nothing; no route names it."""
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

    __slots__ = ("_count", "_default", "_is_needed", "_policy", "_table")

    def __init__(
        self,
        routes: Iterable[RouteLike],
        default: str = "default",
        path_policy: PathPolicy = "normalise",
    ) -> None:
        self._policy = path_policy
        self._default = default
        wanted = [
            (_wanted((route.host or "").encode()), self._prefix(route.path.encode()), route.pool)
            for route in routes
        ]
        self._table = RouteTable(wanted, default)
        self._count = len(wanted)
        self._is_needed = bool(wanted) or path_policy == "reject"

    def _prefix(self, path: bytes) -> bytes:
        return self.compared(path).rstrip(b"/")

    def compared(self, target: bytes) -> bytes:
        """The path of a target as routes are compared with it: in its usual reading."""
        path = target.partition(b"?")[0]
        is_spelled = self._policy != "exact" and SPELLED.search(path) is not None
        return reading(path) if is_spelled else path

    def has(self, host: str) -> bool:
        """Whether a route has exactly this host, in lower case and without a final dot."""
        return self._table.has(host.encode())

    def place_for(self, host: bytes, target: bytes) -> int | None:
        """The place of the route that takes a request which is not refused; None where none matches."""
        place, _ = self._table.first(host_name(host), self.compared(target))
        return place if place < self._count else None

    def first_for(self, route: RouteLike) -> int:
        """The place of the first route that takes all that this one would take; it may be its own."""
        host = ANY_LABEL if route.host is None else route.host.encode().replace(b"*", ANY_LABEL)
        return self._table.first(host_name(host), self._prefix(route.path.encode()))[0]

    def pool_for(self, host: bytes, target: bytes) -> str:
        """The name of the pool; the port of `host` and the query of `target` play no part.

        Raises BadRequest for a path that the path policy refuses, and for one that goes to different pools
        in different readings, unless the policy is `exact`. Of readings that few servers have, only those of
        an earlier route count: what it keeps to its own pool is not to be reached in another one.
        """
        if not self._is_needed:
            return self._default
        name, path = host_name(host), target.partition(b"?")[0]
        if SPELLED.search(path) is None or self._policy == "exact":
            return self._table.first(name, path)[1]
        if self._policy == "reject" and (why := doubt(path)) is not None:
            raise BadRequest(why)
        (first, pool), *others = [self._table.first(name, each) for each in readings(path)]
        if any(other != pool for _, other in others):
            raise BadRequest(
                "the path has a backslash or a semicolon, and backends read it in different ways"
            )
        strays = [self._table.first(name, each) for each in stray_readings(path)] if first else []
        if any(place < first and other != pool for place, other in strays):
            raise BadRequest("the path has `..` or begins with `//`, and backends read it in different ways")
        return pool


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
