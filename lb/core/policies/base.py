"""The interface between a pool and its policy: what a policy is given, and what it returns.

A policy sees only candidates: backends that may take the request. Backends that drain, are full or ejected
were left out before (pingora's split). It chooses in a plain call: it may keep state, but never waits.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lb.core.backend import Backend


class Asking(Protocol):
    """What a policy sees of the request that a backend is chosen for."""

    @property
    def address(self) -> str:
        """The client's IP address, or "unix"."""
        ...

    @property
    def target(self) -> bytes:
        """The request target as it came, with its query."""
        ...

    def field(self, name: bytes) -> bytes | None:
        """The first value of the field with this name, which is in lower case."""
        ...

    def cookie(self, name: bytes) -> bytes | None:
        """The value of the first cookie with this name."""
        ...

    def cookies(self, name: bytes) -> Sequence[bytes]:
        """The values of all cookies with this name, in the order in which they came."""
        ...


class Policy(Protocol):
    """Chooses a backend for each request. A policy of the operator's own needs `choose` and nothing else."""

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        """One of the candidates, of which there is at least one."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A policy that is told how long attempts took."""

    def ended(self, backend: Backend, seconds: float) -> None:
        """An attempt came to its first byte, or failed, after so many seconds."""
        ...
