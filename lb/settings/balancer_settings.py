"""The settings of the balancer itself, with their defaults: `lb.toml` and the flags become one `Config`.

Here are listeners, timeouts, limits, routes, the admin side and the demo; `lb.settings` says where the other
defaults stand.
"""

import resource
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from lb.settings.admin_defaults import ADMIN_LISTEN
from lb.settings.backend_spec import BackendSpec
from lb.settings.cluster_settings import ClusterSettings
from lb.settings.discover_settings import Discover
from lb.settings.listen_address import AdminListen, Listen, parse_address
from lb.settings.pool_settings import PoolSettings
from lb.settings.tls_settings import TlsSettings
from lb.settings.values import (
    Count,
    FilePath,
    NetworkOrUnix,
    Number,
    RouteHost,
    RoutePath,
    Seconds,
    SecondsOrZero,
    Size,
    Token,
    TokenOrEmpty,
    Workers,
    parse_size,
)

LogLevel = Literal["debug", "info", "warning", "error"]
DEFAULT_POOL = "default"
DEFAULT_NAME = "lb"
DEMO_PORTS = (8081, 8082, 8083)
MOST_LOGGED = 32
MOST_CONNECTIONS = 1_000_000
"""`limits.connections` where it is not set and the system has no limit for descriptors."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each wait may last."""

    connect: Seconds = 5.0
    """One attempt to connect to a backend."""
    handshake: Seconds = 10.0
    """What comes before HTTP: a PROXY protocol header, and the handshake of TLS."""
    request_head: Seconds = 10.0
    """From the first byte of a request to the end of its head."""
    body_idle: Seconds = 30.0
    """Between two pieces of a request's body."""
    response_head: Seconds = 60.0
    """From the end of the request to the end of the response's head."""
    response_idle: Seconds = 60.0
    """Between two pieces of a response's body."""
    send: Seconds = 60.0
    """Until a client or a backend takes more of what is sent to it."""
    keepalive: Seconds = 60.0
    """A client connection without a request. Behind another proxy: longer than that one keeps it."""
    request: SecondsOrZero = 0.0
    """For a client to send a whole request, its body included."""
    tunnel_half_open: Seconds = 10.0
    """A WebSocket of which one side has ended, without a byte."""
    backend_idle: Seconds = 1.5
    """A connection to a backend without a request. A server that closes an idle connection loses the
    request that just comes, so this is less than servers usually keep one (gunicorn 2 s, uvicorn and Node
    5 s); raise it where yours keep them longer. What a server says in `Keep-Alive: timeout=N` counts too,
    less a second. A request that cannot be sent again gets a connection that has been idle for less than
    three quarters of this."""
    backend_age: Seconds = 3600.0
    """A connection to a backend, however busy."""
    tunnel_idle: Seconds = 3600.0
    """A WebSocket without a byte in either direction."""
    queue: Seconds = 30.0
    """A request's wait for a backend that is below its cap."""
    drain: Seconds = 60.0
    """The drain of one backend, where the call names no timeout."""
    shutdown_delay: SecondsOrZero = 0.0
    """When we are told to stop: how long /readyz is 503 before the listeners close. Longer than the layer
    in front takes to see it."""
    grace: Seconds = 30.0
    """Then, for the requests that run; what is left is cut."""
    upgrade: Seconds = 60.0
    """For a program that is to replace this one, until it is ready."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is too much, and the status of the response beyond it."""

    request_head: Size = 16 * 1024
    """Beyond it: 431."""
    target: Size = 8 * 1024
    """Beyond it: 414."""
    fields: Count = 100
    """Beyond it: 431, and 502 for a response."""
    request_body: Annotated[int, parse_size] | None = None
    """Beyond it: 413."""
    body_rate: Annotated[int, parse_size] = 240
    """The slowest average upload, in bytes a second; below it: 408. More is asked of a long body. 0: no
    limit."""
    response_head: Size = 64 * 1024
    """Beyond it: 502."""
    held: Annotated[int, parse_size] = 64 * 1024 * 1024
    """What is held for slow clients by all exchanges together; each may take half of what is left of it.
    See [pools.x.buffer]."""
    connections: Count | None = None
    """Clients at once; 45 % of the file descriptors that this process may open unless set, as an exchange
    needs two of them. The soft limit is raised to the hard one."""
    connections_per_address: Count | None = None
    """Clients at once of one address; more are closed. Trusted proxies are not counted."""
    connections_per_certificate: Count | None = None
    """The same of clients that show a certificate, by its subject."""
    handshakes: Count = 256
    """TLS handshakes that have begun and not ended, and as many PROXY protocol headers; beyond it old ones
    are closed."""
    requests_per_connection: Count = 1000
    """Requests of a client connection, which is closed after them."""
    requests_per_backend_connection: Count = 1000
    """The same of a connection to a backend."""
    idle_per_backend: Number = 32
    """Connections to each backend that are kept for later requests."""


def connection_limit(limits: Limits) -> int:
    """How many clients may be connected at once.

    Where it is not set: 45 % of this process's file descriptors. An exchange needs two of them, one for the
    client and one for the backend; the rest is for listeners, the admin side and files.
    """
    if limits.connections is not None:
        return limits.connections
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, soft * 45 // 100)


class PoolConfig(PoolSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pool in the file: its settings, its backends, and where more of them are found.

    A pool needs no declaration but its backends. /readyz is 200 while every pool that was given a backend has
    one that can serve. `PATCH /pools/{name}` changes each setting while requests flow. When every backend
    that could take a request is at its cap, requests wait in the pool's queue, first come, first served.
    """

    backends: tuple[BackendSpec, ...] = ()
    """See [[pools.x.backends]]."""
    discover: tuple[Discover, ...] = ()
    """See [[pools.x.discover]]."""

    @property
    def settings(self) -> PoolSettings:
        """The settings without the backends, as the registry takes them."""
        return PoolSettings(**{name: getattr(self, name) for name in PoolSettings.__struct_fields__})


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Requests for `host` below `path` go to `pool`: the first route that matches, else the pool `default`.

    What a request names is compared, not how it spells it (`path_policy`). 20,000 routes cost a request what
    one costs.
    """

    host: RouteHost | None = None
    """Exact, or `*.example.com`: every name below it, but not the name itself. Compared in lower case,
    without port and one final dot."""
    path: RoutePath = "/"
    """A prefix of whole segments: `/api` takes `/api` and `/api/x`, not `/apis`."""
    pool: str
    """The pool that gets these requests."""

    @property
    def takes_everything(self) -> bool:
        return self.host is None and self.path == "/"


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's side: API, metrics and page.

    It never holds a token. `lb.config.admin_token` reads `token_file`, `lb.config.tokens` reads
    `tokens_file`. Tokens go over the network as they are, so let the API speak TLS where others are on the
    way. No other user may be able to read or change a file of secrets (chmod 600).
    """

    listen: AdminListen = ADMIN_LISTEN
    """As `listen`. An address that others can reach needs a token or `client_ca`. `https://:9443` is TLS,
    with the certificates of [tls]."""
    enabled: bool = True
    """false: no operator's side at all."""
    client_ca: FilePath | None = None
    """Authorities that have issued operators' certificates. One may be shown in place of a token; a line
    of `tokens_file` says whose: `NAME SCOPE subject:CN=Alice,O=Example` (RFC 4514) or `NAME SCOPE
    san:spiffe://example/rollout`."""
    token_file: str | None = None
    """A file with the one token that may do everything; or the variable LB_ADMIN_TOKEN. Read once, at the
    start."""
    tokens_file: str | None = None
    """A file with a line for each token: `NAME SCOPE TOKEN`, or `sha256:` and its digest (`lb token new`
    makes both). `read` looks; `drain` also takes backends and the balancer out and back in and ends
    requests; `admin` does everything, and `then=remove` and `exit=true` need it. A changed file is read
    again with the next request, at most once a second; if it has a mistake, that is logged and the tokens
    from before hold."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that the field Host of a request may have beside the address itself and the names of our
    certificates."""
    allowed_backends: tuple[NetworkOrUnix, ...] = ()
    """Networks, or "unix", in which the API may add backends. Without any: all but link-local addresses,
    the metadata services of clouds and the balancer itself. A name is judged by what it resolves to, now
    and whenever it is resolved again. Backends of the file are your own word."""
    audit_file: str | None = None
    """A line for each change (who, from where, what, old and new value of the first hundred keys, the rest in
    `untold`) and each refused request, of those one a second and name at most. A SIGHUP is by `signal`;
    where no token is needed the name is `anonymous`. It is opened for each line, so it may be renamed at any
    time; unlike the log it loses none where nobody reads stderr (lb_log_lines_dropped_total)."""
    metrics_open: bool = False
    """/metrics, /alerts.yml and /grafana.json need no token."""


def speaks_tls(admin: AdminConfig) -> bool:
    """Whether operators come over TLS."""
    return admin.enabled and parse_address(admin.listen).is_tls


class AccessLogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The access log: a line for each exchange. `access_log = "json"` sets the format alone."""

    format: Literal["auto", "off", "short", "text", "json", "combined"] = "auto"
    """auto is short on a terminal and json otherwise; combined is that of nginx and Apache: the client's
    address, the time of the end in UTC, Referer and User-Agent, then the other `fields`, quoted. `lb docs
    log` has the fields of json."""
    fields: tuple[Token, ...] = ()
    """Fields of the request that stand in each line, as the client sent them, such as ["Host",
    "User-Agent"]."""
    file: str | None = None
    """Where the lines go; stdout unless set. SIGUSR1 opens it again, after a rotation."""

    def checked(self) -> "AccessLogSettings":
        """These settings; ValueError that names the key where they are too much, or contradict each other."""
        if len(self.fields) > MOST_LOGGED:
            raise ValueError(f"fields: more than {MOST_LOGGED} fields")
        if self.file == "":
            raise ValueError("file: expected the path of a file")
        return self


class UpgradeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an upgrade (SIGUSR2, `lb upgrade`) starts.

    The new program gets the listening sockets, what was changed at runtime, drains with their time left, what
    is down, and the random key of sticky cookies; the API cannot choose it. An address may change from plain
    HTTP to https://, or back. A SIGTERM while the new program becomes ready ends both.
    """

    program: str | None = None
    """The program to start, such as /opt/lb-next/bin/lb; what was started before unless set. It gets the
    same arguments."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, complete: no key is missing, so no reader needs a default of its own.

    Keys that are no table of their own stand at the top of the file.
    """

    listen: tuple[Listen, ...] = ("127.0.0.1:8080",)
    """Where to accept clients: "127.0.0.1:8080", ":8080", "[::1]:8080", port 0 for any free one; "fd://3"
    is a socket of systemd; "unix:/run/lb.sock?mode=0660&group=www-data" a Unix socket, for owner and group
    unless its mode says otherwise, that of admin for its owner. "https://:443" is TLS;
    "proxy+https://:443" and "proxy+http://:80" take a PROXY protocol header before it."""
    workers: Workers = 1
    """Processes that carry the traffic, or "auto": one for each core. With 1 all is done in one process."""
    admin: AdminConfig = AdminConfig()
    """See [admin]."""
    state: str | None = None
    """A file that keeps what is changed at runtime; without it that is lost at a restart. It has only what
    differs from the configuration, so later edits of the configuration still apply. It is replaced as a
    whole, or written in place where it is a bind mount; an empty one, as of `touch`, is none yet."""
    access_log: AccessLogSettings = AccessLogSettings()
    """See [access_log]."""
    log_level: LogLevel = "info"
    """From which level on the program's own log has lines; `lb log-level` changes it while it runs."""
    demo: bool = False
    """Three backends of our own on 127.0.0.1:8081 to 8083."""
    trusted_proxies: tuple[NetworkOrUnix, ...] = ()
    """Networks, or "unix" for peers on Unix sockets, whose X-Forwarded-*, X-Request-Id and https URLs are
    believed. The client is then the rightmost address in X-Forwarded-For (or in Forwarded, where that is
    missing) that no trusted proxy has; an entry that is no address ends the search at the one before. Log,
    API, `hash` and limits mean that client. A peer on a Unix socket that is not trusted is unknown: `unix`
    in the log, `for=unknown` in Forwarded. `lb docs fields` says what becomes of each field."""
    proxy_protocol_from: tuple[NetworkOrUnix, ...] = ()
    """Networks, or "unix", of peers that have to send a PROXY protocol header (version 1 or 2) at
    listeners that begin with `proxy+`; all others are refused there, counted as
    lb_connections_rejected_total{reason="proxy_header"}, and the log says what came instead. The peer is
    then who the header names, for limits and `trusted_proxies` too."""
    half_close: Literal["ask", "left", "reads"] = "ask"
    """What it means that a client ends only its side of the connection. "ask": a silent HTTP/1.1 client is
    asked by an interim 100, that of an event stream has left, any other gets its answer; "left": it has
    always left; "reads": never."""
    forwarded: bool = False
    """Send Forwarded (RFC 7239) to backends too."""
    via: TokenOrEmpty = DEFAULT_NAME
    """Our name in Via and Proxy-Status. "" sends no Via, and loops go unnoticed. nginx as a backend
    compresses nothing for requests with Via, unless it has `gzip_proxied any;`."""
    error_details: bool = True
    """Tell clients in words what failed. The words may name backends and their addresses; false leaves
    them the error's name and the request's id."""
    request_id_in_responses: bool = False
    """Every response has X-Request-Id, in place of a backend's own. Error responses always have it."""
    timeouts: Timeouts = Timeouts()
    """See [timeouts]."""
    limits: Limits = Limits()
    """See [limits]."""
    tls: TlsSettings = TlsSettings()
    """See [tls]."""
    upgrade: UpgradeSettings = UpgradeSettings()
    """See [upgrade]."""
    cluster: ClusterSettings | None = None
    """See [cluster]."""
    pools: dict[str, PoolConfig] = msgspec.field(default_factory=lambda: {DEFAULT_POOL: PoolConfig()})
    """See [pools.x]."""
    path_policy: Literal["normalise", "reject", "exact"] = "normalise"
    """How routes compare paths. normalise: as a backend reads them that decodes once, so `/%61dmin`,
    `//admin`, `/x/../admin` and `/x/..%2fadmin` are all `/admin`; a path is forwarded as it came. Where
    servers disagree to which pool it belongs (a backslash, `/x/..;/admin`, or one that a server with
    another idea of `..` or `//` would read as an earlier route), the answer is 400. reject: 400 for every
    path that some server reads otherwise. exact: bytes are compared. Case counts always; a backend that
    ignores it or decodes twice has to guard `/ADMIN` and `/%2561dmin` itself."""
    routes: tuple[Route, ...] = ()
    """See [[routes]]."""


def demo_backends(ports: Sequence[int] = DEMO_PORTS) -> tuple[BackendSpec, ...]:
    """The backends of the demo, on loopback: server1, server2 and so on."""
    return tuple(
        BackendSpec(id=f"server{number}", url=f"http://127.0.0.1:{port}")
        for number, port in enumerate(ports, 1)
    )
