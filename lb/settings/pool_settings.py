"""What may be set for one pool: the same in the file, in the API and in the state file.

All of it is plain, frozen data in seconds, bytes and shares (0 to 1). Who acts on it is named at each struct.
The defaults are what the trusted systems do, where they agree; a default of 0 or None is *off*.
"""

import re
from typing import Annotated, Literal

import msgspec

from lb.phrases import did_you_mean
from lb.settings.values import TOKEN, Count, Number, Seconds, SecondsOrZero, Share, Size, Token, parse_size

HASH_KEY = re.compile(rf"address|path|(field|cookie):{TOKEN.pattern}")
STATUS_RANGE = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
POLICIES = ("round_robin", "least_requests", "two_choices", "ewma", "hash", "random")
OWN_POLICY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
TARGET = re.compile(r"/[!-~]*")
AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
MOST_RANGES = 50
LONGEST_SHOWN = 60
FIELD_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?|")


def statuses(value: object) -> tuple[str, ...]:
    """Status codes and ranges of them: `["200", "300-399", 404]`."""
    items = [str(item)[:LONGEST_SHOWN] for item in msgspec.convert(value, tuple[int | str, ...])]
    if len(items) > MOST_RANGES:
        raise ValueError(f"more than {MOST_RANGES} statuses")
    for item in items:
        match = STATUS_RANGE.fullmatch(item)
        if match is None or (match[2] and match[2] < match[1]):
            raise ValueError(f"{item!r} is not a status such as 503, or a range such as 500-599")
    return tuple(items)


def codes(ranges: tuple[str, ...]) -> frozenset[int]:
    """The codes that these statuses stand for."""
    found: set[int] = set()
    for each in ranges:
        low, _, high = each.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)


def _policy(value: object) -> str:
    name = msgspec.convert(value, str)
    if name not in POLICIES and not OWN_POLICY.fullmatch(name):
        raise ValueError(f"there is no policy {name!r}{did_you_mean(name, POLICIES)}")
    return name


def _hash_key(value: object) -> str:
    key = msgspec.convert(value, str)
    if not HASH_KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not address, path, field:NAME or cookie:NAME")
    return key


def _load(value: object) -> float:
    factor = msgspec.convert(value, float)
    if factor and not 1 < factor <= 100:
        raise ValueError(f"{value!r} is not 0 (no bound) or between 1 and 100")
    return factor


def _target(value: object) -> str:
    text = msgspec.convert(value, str)
    if not TARGET.fullmatch(text):
        raise ValueError(f"{text!r} is not a path such as /healthz")
    return text


def _authority(value: object) -> str:
    text = msgspec.convert(value, str)
    if not AUTHORITY.fullmatch(text):
        raise ValueError(f"{text[:LONGEST_SHOWN]!r} is not a host, perhaps with a port, as Host may have it")
    return text


def _text(value: object) -> str:
    text = msgspec.convert(value, str)
    if not text.strip("*"):
        raise ValueError(f"{text[:LONGEST_SHOWN]!r} is found in any body")
    return text


def _fields(value: object) -> dict[str, str]:
    fields = msgspec.convert(value, dict[str, str])
    for name, text in fields.items():
        if not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(text):
            raise ValueError(f"{name!r} = {text!r} is not a field that can be sent")
        if name.lower() in ("host", "connection", "content-length", "transfer-encoding"):
            raise ValueError(f"{name!r} is not yours to set; `host` has a key of its own")
    return fields


def _port(value: object) -> int:
    port = msgspec.convert(value, int)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is not a port between 1 and 65535")
    return port


Statuses = Annotated[tuple[str, ...], statuses]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings."""


class Probe(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Active checks (`lb.probes` sends them, `lb.core.health.probe_verdict` judges): every `interval`,
    give or take `jitter` of it, and every `changing_interval` while the verdict may be about to change.

    `rise` successes in a row make a backend up, `fall` failures down; so say HAProxy and nginx. A `kind` of
    tcp only connects. `body` is a text to be found in the first `body_bytes` of the answer, in which `*`
    stands for anything (a regular expression could take for ever, and all traffic with it). `initial`
    "probe" keeps a new backend waiting for its first verdict.
    """

    kind: Literal["http", "tcp"] = "http"
    path: Annotated[str, _target] = "/"
    method: Literal["GET", "HEAD", "OPTIONS"] = "GET"
    host: Annotated[str, _authority] | None = None
    fields: Annotated[dict[str, str], _fields] = {}
    status: Statuses = ("200-399",)
    body: Annotated[str, _text] | None = None
    body_bytes: Size = 16 * 1024
    port: Annotated[int, _port] | None = None
    interval: Seconds = 2.0
    changing_interval: Seconds = 0.5
    jitter: Share = 0.1
    timeout: Seconds = 2.0
    rise: Count = 2
    fall: Count = 3
    initial: Literal["up", "down", "probe"] = "up"

    def checked(self) -> "Probe":
        """Itself; ValueError, naming the key, where two settings contradict each other."""
        if self.body is not None and self.kind == "tcp":
            raise ValueError("body: a probe of kind tcp only connects")
        if self.body is not None and self.method == "HEAD":
            raise ValueError("body: an answer to HEAD has none")
        return self


class Ejection(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Passive checks (`lb.core.health.ejection`): what exchanges show about a backend.

    It is ejected after `consecutive` failures in a row, or when in a `window` of at least `minimum` attempts
    the share `ratio` failed; for `base` seconds the first time, twice, three times as long the next,
    `longest` at most. Never more than `share` of a pool's ready backends are out at a time (Envoy's outlier
    detection has the same rules). A failure is a connection that did not come about or broke, a timeout, an
    answer that is not HTTP, or one of `statuses`.
    """

    consecutive: Number = 3
    ratio: Share = 0.5
    window: Seconds = 10.0
    minimum: Count = 20
    statuses: Statuses = ()
    base: Seconds = 10.0
    longest: Seconds = 300.0
    share: Share = 0.5


class Retry(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a request may be sent again (`lb.core.retry`), each time to another backend.

    `attempts` is how many there may be beside the first. An answer with one of `statuses` counts as a failed
    attempt of an idempotent request; a request that carries the field `marked_by` (such as Idempotency-Key)
    counts as one. After `deadline` seconds (queue, attempts and pauses together; None: the timeouts of the
    queue and of an answer's head together) nothing more is begun and nothing more waited for. Before the
    second further attempt we pause `backoff`, and twice as long before each that follows. Retries are at
    most `budget` of the requests of the last ten seconds, and `floor` a second beside that (Finagle's
    RetryBudget). A request body is kept for another attempt up to `body` bytes.
    """

    attempts: Number = 2
    statuses: Statuses = ()
    marked_by: Token | None = None
    deadline: Seconds | None = None
    backoff: SecondsOrZero = 0.025
    budget: Share = 0.2
    floor: Number = 10
    body: Annotated[int, parse_size] = 64 * 1024


class Hedge(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A second attempt for an idempotent request without a body that has no answer after the time in which
    the share `after` of its backend's answers began, `at_least` seconds; the first good head wins.
    """

    after: Share = 0.95
    at_least: Seconds = 0.01


class Hash(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For the policy `hash`: requests with the same `key` go to the same backend, while it is there and has
    at most `load` times its share of what is in flight (0 is no bound).
    """

    key: Annotated[str, _hash_key] = "address"
    load: Annotated[float, _load] = 1.25


class Sticky(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Clients come back to the backend that they were on, by a signed cookie.

    `secret_file` holds the key; without it one is made up at the start, and a restart forgets. `max_age` is
    the cookie's, in seconds; without it, it goes with the browser. While a backend drains, its own clients
    keep it for the first half of the drain's time.
    """

    cookie: Token = "lb"
    secret_file: str | None = None
    max_age: Seconds | None = None
    secure: bool = False


class PoolSettings(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pool's settings.

    `queue` is how many requests may wait when every backend is at its cap, `queue_timeout` how long (None:
    `timeouts.queue`); lower numbers in the field `priority_field` are served first (RFC 9218's urgency, 0 to
    7, 3 where nothing is said). `max_in_flight` caps the whole pool. Over `slow_start` seconds the weight of
    a backend that has become available grows from a tenth to all of it. When less than the share `panic` of
    the ready backends is up and not ejected, health is not believed and all that are ready are used.
    """

    policy: Annotated[str, _policy] = "round_robin"
    queue: Number = 1024
    queue_timeout: Seconds | None = None
    priority_field: Token | None = None
    max_in_flight: Count | None = None
    slow_start: SecondsOrZero = 0.0
    panic: Share = 0.0
    probe: Probe | None = None
    ejection: Ejection = Ejection()
    retry: Retry = Retry()
    hedge: Hedge | None = None
    hash: Hash = Hash()
    sticky: Sticky | None = None
