"""The settings of one pool, with their defaults: the same in the file, in the API and in the state file.

The defaults follow HAProxy, nginx and Envoy where these agree.
A default of 0 or None means that the feature is off.
"""

import re
from typing import Annotated, Literal

import msgspec

from lb.settings import meant_values, pool_values
from lb.settings.pool_values import LONGEST_SHOWN
from lb.settings.values import (
    Count,
    FilePath,
    Number,
    Seconds,
    SecondsOrZero,
    ServerName,
    Share,
    Size,
    Token,
    parse_size,
)
from lb.suggestions import did_you_mean

POLICIES = ("round_robin", "least_requests", "two_choices", "ewma", "hash", "random")
OWN_POLICY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
COOKIE_PATH = re.compile(r"/[!-:<-~]*")
COOKIE_DOMAIN = re.compile(r"(?!.{254})[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
SYSTEM = "system"
"""The authorities that the system trusts."""
SAME_SITE = ("lax", "strict", "none")


def _policy(value: object) -> str:
    name = msgspec.convert(value, str)
    if name not in POLICIES and not OWN_POLICY.fullmatch(name):
        theirs = meant_values.policy(name)
        meant = did_you_mean(name, POLICIES) if theirs is None else f", did you mean `{theirs}`?"
        raise ValueError(f"there is no policy {name!r}{meant}")
    return name


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


def codes(ranges: tuple[str, ...]) -> frozenset[int]:
    """The status codes in these ranges."""
    found: set[int] = set()
    for each in ranges:
        low, _, high = each.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)


Statuses = Annotated[tuple[str, ...], pool_values.statuses]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings, as the file and the API have it."""


class Probe(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Active checks (`lb.probes`), and what they make of a backend: up or down. None without this table.

    With these defaults a dead server is down within 1 to 3.5 s, one that hangs within 7 to 9 s, as each probe
    costs its timeout. Late results after a pause of the balancer itself are ignored. Running requests are not
    cut when a backend goes down.
    """

    kind: Literal["http", "tcp"] = "http"
    """tcp: connecting is enough."""
    path: Annotated[str, pool_values.target] = "/"
    """What is asked for."""
    method: Literal["GET", "HEAD", "OPTIONS"] = "GET"
    """How."""
    host: Annotated[str, pool_values.authority] | None = None
    """The field Host, perhaps with a port; the backend's own unless set."""
    fields: Annotated[dict[str, str], pool_values.fields] = {}
    """More fields, such as { X-Token = "..." }."""
    status: Statuses = ("200-399",)
    """What is a success."""
    body: Annotated[str, pool_values.text] | None = None
    """A text that must occur in the first `body_bytes` of the body; `*` in it stands for any text. It is
    no regular expression, because one could run for ever and stop all traffic."""
    body_bytes: Size = 16 * 1024
    """How much of the body is looked at."""
    port: Annotated[int, pool_values.port] | None = None
    """Another port than the backend's."""
    interval: Seconds = 2.0
    """Between two probes."""
    changing_interval: Seconds = 0.5
    """The same while the last results differ from the verdict."""
    jitter: Share = 0.1
    """Each interval is up to this share longer or shorter, by chance."""
    timeout: Seconds = 2.0
    """For one probe."""
    rise: Count = 2
    """Successes in a row that make a backend up; they also begin the trial of one that is ejected."""
    fall: Count = 3
    """Failures in a row that make it down."""
    initial: Literal["up", "down", "probe"] = "up"
    """What a new backend is; probe: it gets no request until its first verdict."""

    def checked(self) -> "Probe":
        """This probe; ValueError that names the key where two settings contradict each other."""
        if self.body is not None and self.kind == "tcp":
            raise ValueError("body: a probe of kind tcp only connects")
        if self.body is not None and self.method == "HEAD":
            raise ValueError("body: an answer to HEAD has none")
        return self


class Ejection(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Passive checks (`lb.core.health.ejection`): what exchanges show about a backend.

    A failure is a connection that could not be made or broke, a timeout, a response that is not HTTP, or a
    status in `statuses`. A client cannot cause one: a backend is not blamed while part of the request was
    still to come or while its answer waited for the client, nor for an HTTP answer that we refuse, an idle
    connection that had gone stale, a name that no resolver answers, or a timeout that the request's own
    deadline cut short. When the time is over the backend is on trial: it gets one request at a time; the
    first success admits it, the first failure ejects it for longer. `POST /backends/{id}/ready` forgives at
    once.
    """

    consecutive: Number = 3
    """Failures in a row that eject a backend."""
    ratio: Share = 0.5
    """Or this share of the attempts in `window`, once there are `minimum`."""
    window: Seconds = 10.0
    """What `ratio` looks at."""
    minimum: Count = 20
    """Attempts in `window` below which `ratio` says nothing."""
    statuses: Statuses = ()
    """Responses that count as failures, such as ["500-599"]."""
    base: Seconds = 10.0
    """How long the first ejection lasts; the next one twice, then three times as long. Time without
    failures shortens the next."""
    longest: Seconds = 300.0
    """The most."""
    share: Share = 0.5
    """At most this share of a pool's ready backends may be ejected at once: of three one, of one none."""


class Retry(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a request may be sent again (`lb.core.retry`), each time to another backend.

    Where no connection came about nothing was sent, so any request is tried again. Where the connection ended
    without a byte of an answer, or the head did not come in time, only idempotent ones are (GET, HEAD,
    OPTIONS, TRACE, PUT, DELETE, and by `marked_by`); others get 502 or 504, as they may have been processed.
    An answer that breaks off is never repeated: its client's connection is cut, so that it knows. An idle
    connection that had gone stale is first replaced by a new one to the same backend.
    """

    attempts: Number = 2
    """Other backends that are tried after the first, each once."""
    statuses: Statuses = ()
    """Responses after which an idempotent request goes elsewhere, such as [502, 503]."""
    marked_by: Token | None = None
    """A field, such as Idempotency-Key, with which a request counts as idempotent."""
    deadline: Seconds | None = None
    """Over queue, attempts and pauses together; `timeouts.queue` and `timeouts.response_head` together
    unless set."""
    backoff: SecondsOrZero = 0.025
    """The pause before the second further attempt, then twice as long each time."""
    budget: Share = 0.2
    """Retries are at most this share of the requests of the last ten seconds, so that they do not overload
    a pool that is ill as a whole;"""
    floor: Number = 10
    """and this many a second beside it."""
    body: Annotated[int, parse_size] = 64 * 1024
    """How much of a request's body is kept for another attempt."""


class Buffer(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is held for slow clients, so that they do not hold a backend (`lb.proxy.exchange`).

    Event streams, tunnels and responses with `X-Accel-Buffering: no` are passed on at once, always.
    `limits.held` bounds what all exchanges hold together; lb_held_bytes is what they hold now. An upload that
    is refused early is read on for 30 s, or until it is silent for 5 s, so that its client gets the answer.
    `lb why --running` shows who is `receiving body` or `delivering` without a backend.
    """

    request: Annotated[int, parse_size] = 64 * 1024
    """A body with a length of at most this is received whole before a backend is chosen; longer ones,
    chunked ones and those announced with Expect go on as they come. As long as your uploads, for servers
    that take one request at a time."""
    response: Annotated[int, parse_size] = 4 * 1024 * 1024
    """How far a response is read ahead of a client that takes it slowly. Once it has come whole, its
    backend is free."""


class Hedge(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A second attempt beside a slow first one, for an idempotent request without a body; the first good head
    wins. None without this table.
    """

    after: Share = 0.95
    """It starts when the first attempt is slower than this share of its backend's responses,"""
    at_least: Seconds = 0.01
    """but not before this."""


class Hash(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For the policy `hash`: requests with the same key go to the same backend. When it leaves, only its keys
    move.
    """

    key: Annotated[str, pool_values.hash_key] = "address"
    """address (of the client), certificate (its subject), path, field:NAME or cookie:NAME; the address
    where there is none."""
    load: Annotated[float, pool_values.load] = 1.25
    """A backend that has more than this many times its share of what is in flight is passed over; 0: no
    bound."""


class Sticky(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sealed cookie brings a client back to the backend that served it before, whatever the policy.

    There is none without this table. Only balancers with the same key can read the cookie. During the first
    half of a drain's timeout its own clients may still reach a backend; others go elsewhere at once.
    """

    cookie: Token = "lb"
    """Its name. Of several cookies of this name any valid one counts, the newest first."""
    secret_file: str | None = None
    """The key that seals, for several balancers and restarts; without it cookies are void after a restart."""
    max_age: Seconds | None = None
    """Renewed after half of it; the cookie ends with the browser's session unless set."""
    path: Annotated[str, _cookie_path] = "/"
    """An attribute of the cookie (RFC 6265)."""
    domain: Annotated[str, _cookie_domain] | None = None
    """Also for the names below it; only the name that was asked for unless set."""
    same_site: Annotated[str, _same_site] = "lax"
    """lax, strict or none, which needs `secure`."""
    http_only: bool = True
    """Scripts do not see it."""
    secure: bool = False
    """Only over TLS."""

    def checked(self) -> "Sticky":
        """This cookie; ValueError that names the key where a browser would not keep it."""
        if self.same_site == "none" and not self.secure:
            raise ValueError("same_site: browsers drop a cookie with none that is not `secure` too")
        if self.cookie.startswith(("__Secure-", "__Host-")) and not self.secure:
            raise ValueError("cookie: browsers drop a cookie with this prefix that is not `secure` too")
        if self.cookie.startswith("__Host-") and (self.path != "/" or self.domain is not None):
            raise ValueError('cookie: browsers drop a __Host- cookie with a `domain` or a `path` but "/"')
        return self


class BackendTls(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """TLS with the backends whose URL begins with https."""

    ca: FilePath = SYSTEM
    """A file of authorities, or those that the system trusts."""
    name: ServerName | None = None
    """What the certificate has to be for; the host of the URL unless set. Needed with addresses from DNS."""
    verify: bool = True
    """false: whoever answers is taken for the backend."""
    chain: FilePath | None = None
    """Our certificate, for backends that ask for one."""
    key: FilePath | None = None
    """Its key; in the chain's file unless set."""

    def checked(self) -> "BackendTls":
        """These settings; ValueError that names the key where they contradict each other."""
        if self.key is not None and self.chain is None:
            raise ValueError("key: there is no `chain` that it belongs to")
        if not self.verify and self.ca != SYSTEM:
            raise ValueError("verify: false, and `ca` says by which authorities to verify")
        return self


class PoolSettings(Part, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one pool, without its backends, as the registry and the API have them."""

    policy: Annotated[str, _policy] = "round_robin"
    """Who takes the next request. round_robin: in turn, smoothly by weight, exact. least_requests: the
    fewest in flight for its weight. two_choices: the less loaded of two by chance. ewma: the least latency
    (a peak counts at once, and is forgotten over ten seconds) times in flight; of more than four it
    compares two, drawn by weight. hash: see [pools.x.hash]; how many keys a backend has varies by a tenth.
    random: by chance and weight. package.module:Class: one of your own, from the current folder or what is
    installed; where it raises or chooses no candidate, round robin takes that request, and
    lb_policy_failures_total counts. The API cannot load one."""
    queue: Number = 1024
    """Requests that may wait while every backend is at its cap; the next one gets 503."""
    queue_timeout: Seconds | None = None
    """How long each may wait; `timeouts.queue` unless set."""
    priority_field: Token | None = None
    """A field with a number, such as Priority: queued requests are served in this order, 0 first, 7 last,
    3 where it is absent."""
    max_in_flight: Count | None = None
    """A hard cap on the whole pool."""
    slow_start: SecondsOrZero = 0.0
    """How long the weight of a backend that comes (back) takes to grow from a tenth to all of it."""
    panic: Share = 0.0
    """Where fewer than this share of the ready backends are fit, health is ignored and all of them are
    used; 0: never."""
    probe: Probe | None = None
    """See [pools.x.probe]."""
    ejection: Ejection = Ejection()
    """See [pools.x.ejection]."""
    retry: Retry = Retry()
    """See [pools.x.retry]."""
    buffer: Buffer = Buffer()
    """See [pools.x.buffer]."""
    hedge: Hedge | None = None
    """See [pools.x.hedge]."""
    hash: Hash = Hash()
    """See [pools.x.hash]."""
    sticky: Sticky | None = None
    """See [pools.x.sticky]."""
    tls: BackendTls = BackendTls()
    """See [pools.x.tls]."""
    proxy_protocol: Literal[0, 1, 2] = 0
    """1 or 2: each connection to a backend begins with a PROXY protocol header of that version, and
    carries one request. Probes name no client."""
