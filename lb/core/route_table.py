"""The first of many routes that matches a host and a path, found without trying one after the other.

Routes with the same host stand together, in a dictionary of their path prefixes. Only a few hosts of routes
can match a request: the one that it names, the wildcards above that, and any host. Only a few prefixes can
match its path: those that end at one of its slashes. So each of them is looked up, and of what is found the
earliest route wins: the order of the routes decides, not which of them is more exact.

The number of routes plays no part, and neither does what a client sends beyond what routes could match: of a
host and of a path, only as much is looked at as the longest and the deepest of those routes have.
"""

from collections.abc import Sequence

Found = tuple[int, str]
"""The place of a route among the others, and its pool."""


class RouteTable:
    """Routes in their order, each as its host, its path prefix and its pool. `default` is behind them.

    A host is exact, or a wildcard that begins with a dot (`.b.test` is every name that ends so), or empty:
    any host. A prefix matches itself and what continues it with a slash, so it does not end in one; an empty
    prefix matches everything, also `*`, the target of an OPTIONS about the whole server.
    """

    __slots__ = ("_deepest_wildcard", "_hosts", "_longest_prefix", "_longest_wildcard", "_otherwise")

    def __init__(self, routes: Sequence[tuple[bytes, bytes, str]], default: str) -> None:
        hosts: dict[bytes, dict[bytes, Found]] = {}
        for place, (host, prefix, pool) in enumerate(routes):
            hosts.setdefault(host, {}).setdefault(prefix, (place, pool))
        self._otherwise: Found = len(routes), default
        self._hosts = {host: _Prefixes(found) for host, found in hosts.items()}
        self._longest_prefix = max((len(prefix) for found in hosts.values() for prefix in found), default=0)
        wildcards = [host for host in hosts if host.startswith(b".")]
        self._longest_wildcard = max(map(len, wildcards), default=0)
        self._deepest_wildcard = max((host.count(b".") for host in wildcards), default=0)

    def has(self, host: bytes) -> bool:
        """Whether some route has this host."""
        return host in self._hosts

    def first(self, name: bytes, path: bytes) -> Found:
        """The first route that matches, or `default` at the place behind all routes."""
        found = self._otherwise
        path = path[: self._longest_prefix + 1]  # with the byte at which the longest must end
        hosts = (name, *self._wildcards(name), b"") if self._deepest_wildcard else (name, b"")
        for host in hosts:
            prefixes = self._hosts.get(host)
            if prefixes is not None:
                found = prefixes.first(path, found)
        return found

    def _wildcards(self, name: bytes) -> list[bytes]:
        """The ends of the name that begin with a dot, as far as there are wildcards so long and so deep."""
        name = name[-self._longest_wildcard :]
        ends = []
        dot = len(name)
        for _ in range(self._deepest_wildcard):
            dot = name.rfind(b".", 0, dot)
            if dot < 0:
                break
            ends.append(name[dot:])
        return ends


class _Prefixes:
    """The path prefixes of the routes with one host, each with the first of its routes."""

    __slots__ = ("_deepest", "_found")

    def __init__(self, found: dict[bytes, Found]) -> None:
        self._found = found
        self._deepest = max([prefix.count(b"/", 1) + 1 if prefix else 0 for prefix in found])

    def first(self, path: bytes, found: Found) -> Found:
        """The first route with a prefix of this path, or `found` where that is earlier."""
        end = 0
        for _ in range(self._deepest + 1):
            here = self._found.get(path[:end])
            if here is not None and here < found:
                found = here
            if end == len(path):
                break
            end = path.find(b"/", end + 1)
            if end < 0:
                end = len(path)
        return found
