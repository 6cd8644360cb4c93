"""The settings of one pool, with their defaults: the same in the file, in the API and in the state file.

Each struct names the module that acts on it. The defaults follow HAProxy, nginx and Envoy where these agree.
A default of 0 or None means that the feature is off.
"""

import re
from typing import Annotated, Literal

import msgspec

from lb.settings.values import TOKEN, Count, Number, Seconds, SecondsOrZero, Share, Size, Token, parse_size
from lb.suggestions import did_you_mean

HASH_KEY = re.compile(rf"address|path|(field|cookie):{TOKEN.pattern}")
STATUS_RANGE = re.compile(r"([1-9][0-9][0-9])(?:-([1-9][0-9][0-9]))?")
POLICIES = ("round_robin", "least_requests", "two_choices", "ewma", "hash", "random")
OWN_POLICY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
TARGET = re.compile(r"/[!-~]*")
AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
COOKIE_PATH = re.compile(r"/[!-:<-~]*")
COOKIE_DOMAIN = re.compile(r"(?!.{254})[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
SAME_SITE = ("lax", "strict", "none")
MOST_RANGES = 50
LONGEST_SHOWN = 60
FIELD_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?|")


def statuses(value: object) -> tuple[str, ...]:
    """Status codes and ranges of status codes, as text: `["200", "300-399", 404]`."""
    items = [str(item)[:LONGEST_SHOWN] for item in msgspec.convert(value, tuple[int | str, ...])]
    if len(items) > MOST_RANGES:
        raise ValueError(f"more than {MOST_RANGES} statuses")
    for item in items:
        match = STATUS_RANGE.fullmatch(item)
        if match is None or (match[2] and match[2] < match[1]):
            raise ValueError(f"{item!r} is not a status such as 503, or a range such as 500-599")
    return tuple(items)


def codes(ranges: tuple[str, ...]) -> frozenset[int]:
    """The status codes in these ranges."""
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


def _cookie_path(value: object) -> str:
    text = msgspec.convert(value, str)
    if not COOKIE_PATH.fullmatch(text):
        raise ValueError(
            f"{text[:LONGEST_SHOWN]!r} is not a path such as /shop, without blanks and semicolons"
        )
    return text


def _cookie_domain(value: object) -> str:
    """RFC 6265 section 5.2.3: a dot before the name means nothing."""
    text = msgspec.convert(value, str).removeprefix(".").lower()
    if not COOKIE_DOMAIN.fullmatch(text) or text.rpartition(".")[2].isdecimal():
        raise ValueError(f"{text[:LONGEST_SHOWN]!r} is not a domain such as example.com")
    return text


def _same_site(value: object) -> str:
    text = msgspec.convert(value, str)
    if text.lower() not in SAME_SITE:
        raise ValueError(f"{text[:LONGEST_SHOWN]!r} is not one of {', '.join(SAME_SITE)}")
    return text.lower()


def _port(value: object) -> int:
    port = msgspec.convert(value, int)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is not a port between 1 and 65535")
    return port


Statuses = Annotated[tuple[str, ...], statuses]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings, as the file and the API have it."""


class Probe(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Active checks. `lb.probes` sends them, `lb.core.health.probe_verdict` turns them into up and down.

    A probe is sent every `interval`, plus or minus the share `jitter` of it; every `changing_interval` while
    the last results differ from the verdict. `rise` successes in a row make a backend up, `fall` failures in
    a row make it down (as in HAProxy and nginx). A probe of `kind` tcp only connects. `body` is a text that
    must occur in the first `body_bytes` of the response body; `*` in it stands for any text. It is no regular
    expression, because one could run for ever and stop all traffic. `initial` "probe" keeps a new backend
    from getting requests until its first verdict.
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
        """This probe; ValueError that names the key where two settings contradict each other."""
        if self.body is not None and self.kind == "tcp":
            raise ValueError("body: a probe of kind tcp only connects")
        if self.body is not None and self.method == "HEAD":
            raise ValueError("body: an answer to HEAD has none")
        return self


class Ejection(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Passive checks (`lb.core.health.ejection`): what exchanges show about a backend.

    A backend is ejected after `consecutive` failures in a row, or when the share `ratio` of at least
    `minimum` attempts in the last `window` seconds failed. The first ejection lasts `base` seconds, the next
    ones two, three and more times as long, at most `longest`. At most the share `share` of a pool's ready
    backends may be ejected at once. Envoy's outlier detection has the same rules. A failure is a connection
    that could not be made or broke, a timeout, a response that is not HTTP, or a status in `statuses`.
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

    `attempts` is the number of attempts after the first. For an idempotent request, a response whose status
    is in `statuses` counts as a failed attempt; a request with the field `marked_by` (such as
    Idempotency-Key) counts as idempotent. `deadline` bounds queue, attempts and pauses together; None is the
    sum of the timeouts `queue` and `response_head`. The first retry starts at once, the second after
    `backoff` seconds, and each pause is twice the one before. Retries may be the share `budget` of the
    requests of the last ten seconds, and `floor` a second on top (Finagle's RetryBudget). A request body is
    kept for a retry up to `body` bytes.
    """

    attempts: Number = 2
    statuses: Statuses = ()
    marked_by: Token | None = None
    deadline: Seconds | None = None
    backoff: SecondsOrZero = 0.025
    budget: Share = 0.2
    floor: Number = 10
    body: Annotated[int, parse_size] = 64 * 1024


class Buffer(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is held for slow clients, so that they do not hold a backend (`lb.proxy.exchange`); 0 is nothing.

    A request body with a length of up to `request` bytes is received whole before a backend is chosen. Up to
    `response` bytes of a response are read ahead of a client that takes them slowly; not of event streams,
    tunnels, and responses with `X-Accel-Buffering: no`. `limits.held` bounds what all exchanges hold.
    """

    request: Annotated[int, parse_size] = 64 * 1024
    response: Annotated[int, parse_size] = 4 * 1024 * 1024


class Hedge(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A second attempt beside a slow first one, for an idempotent request without a body.

    It starts when the response has taken longer than the share `after` of this backend's responses, but not
    before `at_least` seconds. The first good response head wins.
    """

    after: Share = 0.95
    at_least: Seconds = 0.01


class Hash(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For the policy `hash`: requests with the same `key` go to the same backend.

    A backend that has more than `load` times its share of the requests in flight is passed over; 0 is no
    bound.
    """

    key: Annotated[str, _hash_key] = "address"
    load: Annotated[float, _load] = 1.25


class Sticky(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sealed cookie brings a client back to the backend that served it before.

    `secret_file` holds the key that seals. Without it the key is random, so cookies are void after a
    restart. `max_age` is the cookie's, in seconds, and renewed when half of it is over; None is a session
    cookie. The other keys are attributes of the cookie (RFC 6265). During the first half of a drain's timeout
    a backend still gets requests with its cookie.
    """

    cookie: Token = "lb"
    secret_file: str | None = None
    max_age: Seconds | None = None
    path: Annotated[str, _cookie_path] = "/"
    domain: Annotated[str, _cookie_domain] | None = None
    same_site: Annotated[str, _same_site] = "lax"
    http_only: bool = True
    secure: bool = False

    def checked(self) -> "Sticky":
        """This cookie; ValueError that names the key where a browser would not keep it."""
        if self.same_site == "none" and not self.secure:
            raise ValueError("same_site: browsers drop a cookie with none that is not `secure` too")
        if self.cookie.startswith(("__Secure-", "__Host-")) and not self.secure:
            raise ValueError("cookie: browsers drop a cookie with this prefix that is not `secure` too")
        if self.cookie.startswith("__Host-") and (self.path != "/" or self.domain is not None):
            raise ValueError('cookie: browsers drop a __Host- cookie with a `domain` or a `path` but "/"')
        return self


class PoolSettings(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one pool.

    `queue` is the number of requests that may wait while every backend is at its cap, `queue_timeout` how
    long each may wait (None: `timeouts.queue`). Queued requests are served in the order of the number in
    their field `priority_field`, lowest first (RFC 9218's urgency: 0 to 7, 3 without the field).
    `max_in_flight` caps the whole pool. When a backend becomes available, its weight grows from a tenth to
    the whole within `slow_start` seconds. When less than the share `panic` of the ready backends is up and
    not ejected, health is ignored and every ready backend gets requests.
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
    buffer: Buffer = Buffer()
    hedge: Hedge | None = None
    hash: Hash = Hash()
    sticky: Sticky | None = None
