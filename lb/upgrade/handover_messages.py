"""What the program that runs and the one that replaces it say to each other, over a socket pair.

    running                                   new
    Offer: sockets, wishes, cookie key  --->
                                        <---  Ready, once it could serve; or Refused, and it ends
    TakeOver: the drains that run       --->
                                        <---  Serving: it accepts now
    Replaced: the other accepts no more --->
    InFlight, as its requests end       --->
                                        <---  Wished: an operator's wish that counts there too

The two may be of different versions. The offer says which versions of these messages its program speaks, from
`oldest` to `newest`; the answer is in the newest that both know. Fields may be added with a default without a
new version, since unknown ones are ignored. Messages are numbered on each side, and none may be missing.
"""

import struct
from typing import Literal

import msgspec

from lb.config.inheritance import Found
from lb.config.state_file import Changes
from lb.errors import NotUpgraded
from lb.settings.backend_spec import BackendSpec

VERSION = 1
OLDEST = 1
"""The versions of these messages that this program speaks."""
LENGTH = struct.Struct(">II")
"""Before each message: its length in bytes, and its number."""
LONGEST = 256 * 1024 * 1024
"""More than a hundred thousand backends need."""


class Sockets(msgspec.Struct, frozen=True, kw_only=True):
    """One address of the configuration, and the descriptors of the sockets that listen for it."""

    address: str
    descriptors: tuple[int, ...]


class Offer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All that the new program needs to become ready; it takes no request yet.

    `changes` are those of the state file. `down` has what the last probe met of backends that are down, by
    id. `upgrades` is how often this line of programs has been upgraded. `found` are the backends that sources
    have found, `own` the local overrides of one in a cluster.
    """

    oldest: int = OLDEST
    newest: int = VERSION
    program: str
    pid: int
    listeners: tuple[Sockets, ...] = ()
    admin: Sockets | None = None
    changes: Changes = {}
    down: dict[str, str] = {}
    cookie_key: bytes = b""
    upgrades: int = 0
    found: tuple[Found, ...] = ()
    own: dict[str, str] = {}


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It could serve. `taken` are the addresses whose sockets it goes on with."""

    version: int = VERSION
    program: str
    pid: int
    taken: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It cannot serve, and ends."""

    why: str


class RunningDrain(msgspec.Struct, frozen=True, kw_only=True):
    """A drain that goes on. `left` and `age` are in seconds."""

    spec: BackendSpec
    pool: str
    left: float
    age: float
    then: Literal["keep", "remove", "maintenance"]
    started_with: int
    source: str = "api"


class TakeOver(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From now on operators change nothing here.

    `in_flight` has the requests that run in the old program, by backend. `draining_for`: the balancer itself
    drains, for so long already.
    """

    drains: tuple[RunningDrain, ...] = ()
    in_flight: dict[str, int] = {}
    draining_for: float | None = None


class Serving(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It accepts connections, of clients and of operators."""


class Replaced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The old program accepts no more. The files of Unix sockets and the service manager are the other's."""


class InFlight(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How many requests of the old program run on these backends now; others are as they were."""

    counts: dict[str, int]


class Wished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What an operator wants of a backend now; `left` is the rest of a drain's time in seconds."""

    backend: str
    wish: Literal["ready", "draining", "maintenance", "removed"]
    left: float = 0.0


Message = Offer | Ready | Refused | TakeOver | Serving | Replaced | InFlight | Wished

_decoder = msgspec.json.Decoder(Message)


def framed(message: Message, number: int) -> bytes:
    """The message as it is sent."""
    data = msgspec.json.encode(message)
    return LENGTH.pack(len(data), number) + data


def read(data: bytes) -> Message:
    """The message in these bytes; NotUpgraded, in words, for one that this program does not know."""
    try:
        message: Message = _decoder.decode(data)
    except msgspec.DecodeError as exc:
        raise NotUpgraded(f"the other program said what this one does not understand: {exc}") from exc
    return message


def agreed(offer: Offer) -> int:
    """The newest version that both programs speak; NotUpgraded where there is none."""
    newest = min(VERSION, offer.newest)
    if newest < max(OLDEST, offer.oldest):
        theirs, ours = f"{offer.oldest} to {offer.newest}", f"{OLDEST} to {VERSION}"
        raise NotUpgraded(
            f"the program that runs ({offer.program}) speaks versions {theirs} of these messages, this one"
            f" {ours}: stop it, and start this one"
        )
    return newest
