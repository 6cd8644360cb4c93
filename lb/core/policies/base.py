"""The interface between a pool and its policy: what a policy is given, and what it returns.

A policy sees only candidates: backends that may take the request. Backends that drain, are full or ejected
were left out before (pingora's split). It chooses in a plain call: it may keep state, but never waits.

`choose` is given the candidates of one request, and may look at all of them. A policy that `Follows` is told
who comes and goes instead, and keeps for itself what it needs to pick one without such a look. `choose` then
says what is right: `pick` does the same in fewer steps.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, runtime_checkable

from lb.core.backend import Backend


class Asking(Protocol):
    """What a policy sees of the request that a backend is chosen for."""

    @property
    def address(self) -> str:
        """The client's IP address, or "unix"."""
        ...

    @property
    def subject(self) -> str | None:
        """What tells the owner of the client's certificate from others; None where it has shown none."""
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
class Follows(Protocol):
    """A policy that keeps the candidates up to date itself, for pools with more than `few` of them.

    While it follows a backend, `choose` is not given that one together with others. Of a backend whose share
    changes it is told that it leaves, and enters again.
    """

    few: int

    def follow(self, candidates: Sequence[Backend]) -> None:
        """From now on these are the candidates, and no others."""
        ...

    def enter(self, backend: Backend) -> None:
        """One more candidate."""
        ...

    def leave(self, backend: Backend) -> None:
        """This one is a candidate no more."""
        ...

    def pick(self, request: Asking) -> Backend:
        """One of the candidates, of which there is at least one."""
        ...


@runtime_checkable
class Forgets(Protocol):
    """A policy that keeps something of each backend that it has met."""

    def forget(self, backend: Backend) -> None:
        """This one has left the pool for good. It is no candidate, and may not have been met."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A policy for which it takes time to meet a backend, so that it is made ready before it is used."""

    def preparing(self, backends: Collection[Backend]) -> Iterator[None]:
        """Meet these, a few with each step. Some of them may have left, or changed, when it is used."""
        ...


@runtime_checkable
class Counts(Protocol):
    """A policy that must know when the requests in flight on a backend that it follows have changed."""

    def counted(self, backend: Backend) -> None: ...


Look = Callable[[Backend], bool]
"""Learn anew how many requests other workers have on a backend (`Backend.others`): has it changed?"""


@runtime_checkable
class Looks(Protocol):
    """A policy that compares what runs on backends, and so must see what other workers have there."""

    def see(self, look: Look) -> None:
        """From now on look before choosing."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A policy that is told how long attempts took."""

    def ended(self, backend: Backend, seconds: float) -> None:
        """An attempt came to its first byte, or failed, after so many seconds."""
        ...
