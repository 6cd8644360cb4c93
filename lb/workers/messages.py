"""What keeper and workers tell each other, on one channel for each worker.

Down go states (`lb.core.mirror`), up go proposals, numbers and answers. Both ends are the same program, since
the keeper starts its workers, so there are no versions. All structs are arrays on the wire; the tags name
their kinds.
"""

import msgspec

from lb.core.health.ejection import Cause
from lb.core.lending import Lend, Uses
from lb.core.mirror import State
from lb.settings.balancer_settings import Config
from lb.settings.tls_settings import TlsSettings
from lb.workers.report import AnyPart

SETTINGS, CERTIFICATES = "settings", "certificates"
"""What a worker may keep as it had it; of a pool it is told with the pool's name."""


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One message."""


# -- down ----------------------------------------------------------------------------------------------------


class Accepted(msgspec.Struct, frozen=True, array_like=True):
    """A listening socket by its descriptor, and what clients say there before HTTP."""

    fd: int
    is_tls: bool = False
    takes_proxy_header: bool = False


class Begin(Message, frozen=True):
    """The first message: all that a worker needs before it can be told states.

    `worker` is its number of `workers`, from 1; it was started with the descriptors in `listeners` and
    `board`; `cookie_key` is the random key for cookies, the same in all workers.
    """

    worker: int
    workers: int
    board: int
    config: Config
    listeners: list[Accepted]
    cookie_key: bytes


class Settings(Message, frozen=True):
    """The Config from now on. Its pools are told as states."""

    config: Config


class TlsFiles(Message, frozen=True):
    """The certificates from now on: the settings, and what the files that they name hold (path, data, mode).

    The keeper has read the files, so all workers have the same. Where `keys` differs from what was told
    before, session tickets get new keys.
    """

    settings: TlsSettings
    files: list[tuple[str, bytes, int]]
    keys: int


class Draining(Message, frozen=True):
    """The whole balancer drains, or does so no more."""

    is_draining: bool


class NameFound(Message, frozen=True):
    """What is known of a host name (`lb.net.resolver.Found`)."""

    host: str
    addresses: list[tuple[int, tuple[str | int, ...]]] | None
    why: str | None
    is_unanswered: bool


class Failing(Message, frozen=True):
    """Attempts on this backend have failed, in whichever worker: the next that goes well is to be told of."""

    backend: str


Decided = State | Settings | TlsFiles | Draining | NameFound | Failing


class Batch(Message, frozen=True):
    """Things that were decided, in their order. `number` grows by one with each batch.

    `is_last`: nothing else was decided when this was sent.
    """

    number: int
    is_last: bool
    changes: list[Decided]


class Considered(Message, frozen=True):
    """The keeper has taken in what was `Shown` of this backend."""

    backend: str


class ReopenLogs(Message, frozen=True):
    """Open the log files again, which were perhaps moved away."""


class Ask(Message, frozen=True):
    """A question, answered by an `Answer` with its number. `what` names it; `about` is what it needs."""

    number: int
    what: str
    about: bytes = b""


class LastChance(Message, frozen=True):
    """Once the worker stops, idle connections may still send a request for so many seconds."""

    seconds: float


class Stop(Message, frozen=True):
    """Stop accepting, let what runs finish within the grace, say `Stopped`, and exit.

    `is_handed_over`: another program accepts from the same sockets, so what waits in the backlog is its own.
    """

    is_handed_over: bool


Down = Begin | Batch | Lend | Considered | ReopenLogs | Ask | LastChance | Stop


# -- up ------------------------------------------------------------------------------------------------------


class Awake(Message, frozen=True):
    """The process has started, and waits for its first message."""


class Started(Message, frozen=True):
    """The process runs, and hears what it is told. It accepts no connection yet."""


class Serving(Message, frozen=True):
    """The worker accepts connections. `tag` is in each request id that it makes (`lb.proxy.context.Ids`)."""

    tag: bytes


class Applied(Message, frozen=True):
    """The batch of this number is applied."""

    number: int


class Busy(Message, frozen=True):
    """What was decided takes long to apply, and goes on."""


class NotApplied(Message, frozen=True):
    """What was told last of this cannot be used here, so what was before it is used still.

    `why` is empty once it could be used after all.
    """

    what: str
    why: str


class Idle(Message, frozen=True):
    """Nothing runs any more on a draining backend here, as of the last batch, of this number.

    `cut` is how many requests were cut since it drains.
    """

    backend: str
    number: int
    cut: int


class Shown(Message, frozen=True):
    """What attempts have shown of a backend since the last of these; the keeper answers with `Considered`.

    `succeeded`: one went well, after which so many have failed in a row, the last one for the reason `why`.
    `turns`: that is enough to eject the backend for this cause, or (None) to admit it.
    """

    backend: str
    serial: int
    succeeded: bool = False
    failures: int = 0
    turns: bool = False
    cause: Cause | None = None
    why: str = ""


class Wanted(Message, frozen=True):
    """This host name is to be resolved soon: a connection to one of its addresses has failed."""

    host: str


class Answer(Message, frozen=True):
    """The answer to the question of this number."""

    number: int
    answer: bytes


class Failed(Message, frozen=True):
    """An exchange has failed, told as `lb.observe.told_exchanges` does; `untold` more did before it."""

    exchange: bytes
    untold: int


class Report(Message, frozen=True):
    """Numbers that have changed since the last report. The answer to the question "numbers" follows them."""

    parts: list[AnyPart]


class Stopped(Message, frozen=True):
    """The last message: all connections have ended, and so many exchanges were cut."""

    cut: int


Up = (
    Awake
    | Started
    | Serving
    | Applied
    | Busy
    | NotApplied
    | Idle
    | Shown
    | Wanted
    | Answer
    | Failed
    | Report
    | Stopped
    | Uses
)
