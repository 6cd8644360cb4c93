"""What a policy may know of a request, and what it owes the pool in return.

A policy sees only candidates that may take the request; who is draining, full or ejected is not its business
(pingora's split). It chooses in a plain call: it keeps what state it likes, and never waits.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lb.core.backend import Backend


class Asking(Protocol):
    """The request that a backend is chosen for."""

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

    def cookie(self, name: bytes) -> bytes | None: ...


class Policy(Protocol):
    """One of your own needs this method and no other. It may keep state; it must not wait."""

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        """One of the candidates, of which there is always at least one."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A policy that wants to be told how attempts went."""

    def ended(self, backend: Backend, seconds: float) -> None:
        """An attempt has come to its first byte, or to its failure, after so many seconds."""
        ...
