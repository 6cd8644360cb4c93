"""`[[pools.NAME.discover]]`: where the backends of a pool are found, and how much a source is believed.

`lb.discovery` asks the sources, `lb.core.reconcile` follows what they say.
"""

from typing import Annotated

import msgspec

from lb.settings.backend_spec import ID, MAX_WEIGHT
from lb.settings.values import Count, FilePath, Seconds, SecondsOrZero, Share, positive_duration

KINDS = ("dns", "files", "http", "docker", "etcd", "kubernetes", "consul")
"""The keys that say where backends are announced; each source has exactly one of them."""
FROM_TTL = "ttl"
OF_OTHERS = ("config", "api")
"""What the source of a backend is called that was not found."""
POLLED = ("dns", "files", "http")
ASKED = ("http", "docker", "etcd", "kubernetes", "consul")
ONLY_FOR = {
    "every": POLLED,
    "least": ("dns",),
    "most": ("dns",),
    "resolvers": ("dns",),
    "tcp": ("dns",),
    "ipv6": ("dns",),
    "weights": ("dns",),
    "api": ("kubernetes",),
    "user": ("etcd",),
    "password_file": ("etcd",),
    "token_file": ("http", "kubernetes", "consul"),
    "ca": ASKED,
    "chain": ASKED,
    "key": ASKED,
}
"""Keys that mean something to these kinds alone."""
LONGEST_WHERE = 1024


def _where(value: object) -> str:
    text = msgspec.convert(value, str)
    if not text or not text.isprintable() or len(text) > LONGEST_WHERE:
        raise ValueError(f"{text[:60]!r} is not a text of 1 to {LONGEST_WHERE} visible characters")
    return text


def _name(value: object) -> str:
    name = msgspec.convert(value, str)
    if not ID.fullmatch(name):
        raise ValueError(f"{name!r} may hold letters, digits and . _ ~ - only")
    if name in OF_OTHERS:
        raise ValueError(f"{name!r} is what the source of other backends is called")
    return name


def _every(value: object) -> float | None:
    return None if value == FROM_TTL else positive_duration(value)


def _weight(value: object) -> int:
    weight = msgspec.convert(value, int)
    if not 0 <= weight <= MAX_WEIGHT:
        raise ValueError(f"{weight} is not between 0 and {MAX_WEIGHT}")
    return weight


class Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds of a backend where its source says nothing."""

    weight: Annotated[int, _weight] = 1
    """As in [[pools.x.backends]]."""
    max_in_flight: Count | None = None
    """As there."""
    max_connections: Count | None = None
    """As there."""
    backup: bool = False
    """As there."""
    labels: dict[str, str] = {}
    """As there; those that the source gives stand beside them."""


class Discover(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One source of backends; several tables are several sources. Exactly one of the keys `dns` to `consul`
    says where it is.

    An error is no answer: while a source fails, nothing changes. Missing is not gone: a backend that is not
    named any more is used for the `grace`, which a failure of the source begins anew, then drained and
    removed; only one that is down or ejected leaves at once. Back in time, it is the same backend with the
    same numbers. What `keep` holds back is *held*: LbDiscoveryHeld fires, and `POST
    /pools/{name}/discover/accept` or the page lets it go. The operator has the last word: what was drained,
    weighted or removed by hand stays so, over restarts too (`state`). Who names an id first has it: the file,
    then the API, then the sources in their order. A source may say that a backend is `leaving` (it drains at
    once; if all are, they serve on) or `not_ready`. /readyz is 503 while a pool with sources has nobody,
    unless they have `keep = 0` and say so.
    """

    dns: Annotated[str, _where] | None = None
    """"http://web.example:8000" or https://: each address of the name is a backend.
    "srv://_http._tcp.web.example": SRV records, which say the ports too (srvs:// speaks https with them);
    the lowest priority is in, those of the others are `backup`, weights are as they are, 0 is 1, and the
    id is target-port. The name is asked for again when the TTL of its shortest-lived record is over, and
    when a backend that it found is down or ejected, never twice within a second. Names are absolute: no
    search domain is tried, /etc/hosts is not read. A name without such records is an empty set; NXDOMAIN,
    SERVFAIL, silence, one of A and AAAA without an answer, and what cannot be read are failures. With
    https set `name` in [pools.x.tls]."""
    files: Annotated[str, _where] | None = None
    """"/etc/lb/web.d/*.json", looked at every second; all of them are one set. A file is a list of
    backends, `[{"url": "http://10.0.0.1:8000", "weight": 2}]`, where each may have a `notice` (here,
    not_ready, leaving), or Prometheus' `file_sd`. Replace it whole (mv)."""
    http: Annotated[str, _where] | None = None
    """"https://inventory.example/web.json": a list as in `files`, or Prometheus' `http_sd`, where
    `__scheme__` may be https. An answer with an ETag is sent again only when it has changed. An entry that
    is of no use is skipped; a list of which nothing is, and any status but 200, is a failure. No redirect
    is followed. Whoever may see the pool sees the URL: no secret belongs into it."""
    docker: Annotated[str, _where] | None = None
    """"unix:/var/run/docker.sock" or "tcp://docker:2375": containers with the label `lb.pool`. `lb.port`
    says where one serves (needed unless it exposes exactly one port), `lb.network` the whole name of the
    network (needed where it is on several), `lb.weight` and `lb.id` as in [[pools.x.backends]]; the id is
    the container's name unless set. What is not clear is not guessed: such a container is skipped, and the
    source says why. From the signal of `docker stop` on (or SIGTERM, SIGINT, SIGQUIT, SIGKILL, its
    STOPSIGNAL) it is leaving; while it is paused, or its health is starting or unhealthy, it is not ready."""
    etcd: Annotated[str, _where] | None = None
    """"http://10.0.0.1:2379,http://10.0.0.2:2379/services/web/": endpoints and a prefix. A value is a URL,
    or an object as in `files`; the id is what follows the prefix. A value that cannot be read is told, and
    the former one of its key holds on. An endpoint that falls silent is left for the next within seconds;
    all keys are compared once a minute. Where the data of etcd were wiped or restored nothing is followed
    until POST /pools/x/discover/accept. It needs the JSON gateway (`enable-grpc-gateway`) and etcd 3.4.34,
    3.5.16 or newer: older ones lose events and leases."""
    kubernetes: Annotated[str, _where] | None = None
    """"shop/web:http": namespace, Service, and a port by name or number where it has several. Its
    EndpointSlices are watched. The id is the pod's name. A pod that terminates and still serves is
    leaving, one that is not ready is not ready; it counts once, by its IPv4 address where it has two."""
    consul: Annotated[str, _where] | None = None
    """"http://127.0.0.1:8500/web": the agent and the service; `?dc=east` and the like may follow. Passing
    is here with Weights.Passing, a warning with Weights.Warning; a critical check is not ready;
    maintenance is leaving. The id is NODE.SERVICE-ID. An answer without a leader, or one that leaves out
    what the token may not see, is a failure."""
    name: Annotated[str, _name] = ""
    """What the source is called; its kind unless set."""
    every: Annotated[float, _every] | None = None
    """For dns, files and http: how often it is asked; "ttl": as long as its answers last."""
    least: Seconds = 1.0
    """For dns: how soon it is asked again, whatever the TTL."""
    most: Seconds = 30.0
    """For dns: how late."""
    settle: Seconds = 1.0
    """Changes are applied at most once in this time; the first one at once."""
    grace: SecondsOrZero = 30.0
    """How long a backend that is not named any more is used."""
    keep: Share = 0.5
    """An answer that names other backends only leaves this share of those that were available until the
    newcomers have been seen to work, and one that names nobody leaves all; 0: all may go."""
    first: SecondsOrZero = 5.0
    """How long a start waits for the first answer."""
    resolvers: tuple[str, ...] = ()
    """For dns: name servers, such as ["10.0.0.2", "[fd00::2]:53"]; those of /etc/resolv.conf unless set."""
    tcp: bool = False
    """For dns: asks by TCP at once. For servers such as Consul that leave out by UDP what does not fit."""
    ipv6: bool = True
    """For dns: false asks for no AAAA records. Where a name server has no answer for them, or each server
    would be found twice."""
    weights: bool = True
    """For dns: false does not use those of SRV records."""
    api: Annotated[str, _where] | None = None
    """For kubernetes outside of a pod: "https://10.0.0.1:6443", with `token_file` or `chain` and `key`,
    and `ca`."""
    user: Annotated[str, _where] | None = None
    """For etcd with users; with a `password_file`."""
    password_file: FilePath | None = None
    """For etcd."""
    token_file: FilePath | None = None
    """For http, kubernetes and consul: a bearer token, read for each question."""
    ca: FilePath | None = None
    """A file of authorities for the source's own TLS; those of the system unless set."""
    chain: FilePath | None = None
    """Our certificate for it."""
    key: FilePath | None = None
    """Its key; in the chain's file unless set."""
    defaults: Defaults = Defaults()
    """See [pools.x.discover.defaults]."""

    def checked(self) -> "Discover":
        """This source with its name filled in; ValueError that names the key of a contradiction."""
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = f"these are {len(given)}: {', '.join(given)}" if given else "there is none"
            raise ValueError(f"{given[1] if given else 'files'}: one of {', '.join(KINDS)}, and {found}")
        kind = given[0]
        for field in msgspec.structs.fields(self):
            kinds = ONLY_FOR.get(field.name, KINDS)
            if kind not in kinds and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name}: a source of kind {kind} has no such key; {_of(kinds)}")
        if self.least > self.most:
            raise ValueError(f"least: {self.least:g} s is more than `most`, {self.most:g} s")
        if self.key is not None and self.chain is None:
            raise ValueError("key: there is no `chain` that it belongs to")
        return self if self.name else msgspec.structs.replace(self, name=kind)

    @property
    def kind(self) -> str:
        """The word of its setting, such as "dns"."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def where(self) -> str:
        """What was configured, for people."""
        where: str = getattr(self, self.kind)
        return where


def _of(kinds: tuple[str, ...]) -> str:
    return f"{', '.join(kinds)} {'has' if len(kinds) == 1 else 'have'}"
