"""The settings of the balancer itself, with their defaults: `lb.toml` and the flags become one `Config`.

Here are listeners, timeouts, limits, routes, the admin side and the demo; `lb.settings` says where the other
defaults stand.
"""

import resource
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from lb.settings.backend_spec import BackendSpec
from lb.settings.listen_address import Listen
from lb.settings.pool_settings import PoolSettings
from lb.settings.values import (
    Count,
    NetworkOrUnix,
    Number,
    RouteHost,
    RoutePath,
    Seconds,
    SecondsOrZero,
    Size,
    Token,
    TokenOrEmpty,
    parse_size,
)

DEFAULT_POOL = "default"
DEFAULT_NAME = "lb"
DEMO_PORTS = (8081, 8082, 8083)
TOKEN_VARIABLE = "LB_ADMIN_TOKEN"
MOST_LOGGED = 32
MOST_CONNECTIONS = 1_000_000
"""`limits.connections` where it is not set and the system has no limit for descriptors."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each wait may last, in seconds.

    `backend_idle` is less than servers usually keep a connection: gunicorn 2 s, uvicorn and Node 5 s. A
    request that meets the end of its connection is lost where it cannot be sent again.
    """

    connect: Seconds = 5.0  # one attempt to connect to a backend
    request_head: Seconds = 10.0  # the wait for a whole request head
    body_idle: Seconds = 30.0  # each wait for more of a request's body
    response_head: Seconds = 60.0  # the wait for a whole response head
    response_idle: Seconds = 60.0  # each wait for more of a response's body
    send: Seconds = 60.0  # each wait until a client or a backend takes bytes
    keepalive: Seconds = 60.0  # a client connection without a request
    request: SecondsOrZero = 0.0  # the wait for a whole request, its body included; 0: no limit
    tunnel_half_open: Seconds = 10.0  # an upgraded connection of which one side has ended, without a byte
    backend_idle: Seconds = 1.5  # a connection to a backend without a request
    backend_age: Seconds = 3600.0  # a connection to a backend, from its beginning
    tunnel_idle: Seconds = 3600.0  # an upgraded connection without a byte in either direction
    queue: Seconds = 30.0  # a request's wait for a backend below its cap
    drain: Seconds = 60.0  # the drain of one backend, where the call names no timeout
    shutdown_delay: SecondsOrZero = 0.0  # from the wish to stop, and /readyz 503, until the listeners close
    grace: Seconds = 30.0  # the drain of this balancer when it stops


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is too much, and the status of the response beyond it. Sizes are in bytes."""

    request_head: Size = 16 * 1024  # 431
    target: Size = 8 * 1024  # 414
    fields: Count = 100  # of a request head: 431; of a response head: 502
    request_body: Annotated[int, parse_size] | None = None  # 413; None: no limit
    body_rate: Annotated[int, parse_size] = 240  # slowest average upload, bytes a second: 408; 0: no limit
    response_head: Size = 64 * 1024  # 502
    held: Annotated[int, parse_size] = 64 * 1024 * 1024  # for slow clients, by all exchanges together
    connections: Count | None = None  # of clients at once; None: see `connection_limit`
    connections_per_address: Count | None = None  # of one client address; None: no limit
    requests_per_connection: Count = 1000  # of a client connection, which is closed after them
    requests_per_backend_connection: Count = 1000  # the same of a connection to a backend
    idle_per_backend: Number = 32  # connections that are kept for later requests; 0: none


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
    """One pool in the file: its settings and its backends."""

    backends: tuple[BackendSpec, ...] = ()

    @property
    def settings(self) -> PoolSettings:
        """The settings without the backends, as the registry takes them."""
        return PoolSettings(**{name: getattr(self, name) for name in PoolSettings.__struct_fields__})


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Requests for `host` below `path` go to `pool`.

    `host` is lower-case: a name, or `*.` before a name (every name below it, but not the name itself), or
    None for every host. `path` is a prefix of whole segments: `/api` matches `/api` and `/api/x`, not
    `/apis`. It ends in a slash only where it is `/`.
    """

    host: RouteHost | None = None
    path: RoutePath = "/"
    pool: str

    @property
    def takes_everything(self) -> bool:
        return self.host is None and self.path == "/"


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The admin side: API, metrics and page.

    It never holds a token. `lb.config.admin_token` reads `token_file`, whose token may do everything;
    `lb.config.tokens` reads `tokens_file`, where each token has a scope. `allowed_hosts` are names that a
    request's Host may have beside the address, `allowed_backends` the networks, or `unix`, in which the API
    may add backends; without any, all but what `lb.core.allowed_addresses` reserves. `audit_file` gets a line
    for each act of the audit trail. With `metrics_open`, /metrics, /alerts.yml and /grafana.json need no
    token.
    """

    listen: Listen = "127.0.0.1:9000"
    enabled: bool = True
    token_file: str | None = None
    tokens_file: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_backends: tuple[NetworkOrUnix, ...] = ()
    audit_file: str | None = None
    metrics_open: bool = False


class AccessLogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The access log: a line for each exchange.

    `format` auto is text on a terminal and JSON otherwise; combined is that of Apache and nginx. `fields` are
    the request's fields to log, as the client sent them. `file` is opened again at SIGUSR1; None is stdout.
    """

    format: Literal["auto", "off", "text", "json", "combined"] = "auto"
    fields: tuple[Token, ...] = ()
    file: str | None = None

    def checked(self) -> "AccessLogSettings":
        """These settings; ValueError that names the key where they are too much, or contradict each other."""
        if len(self.fields) > MOST_LOGGED:
            raise ValueError(f"fields: more than {MOST_LOGGED} fields")
        if self.file == "":
            raise ValueError("file: expected the path of a file")
        return self


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, complete: no key is missing, so no reader needs a default of its own.

    `state` is the file that keeps runtime changes (None: they are lost at a restart). X-Forwarded-* and
    X-Request-Id are believed from peers in `trusted_proxies`: networks, and `unix` for whoever comes over a
    Unix socket. `half_close` is what it means that a client ends only its side (`ask`: it is asked
    where that is possible, and reads on elsewhere); `forwarded` adds RFC 7239's Forwarded to requests; `via`
    is this balancer's name in Via and Proxy-Status, and if it is empty, requests get no Via and loops are not
    noticed. Without `error_details` an error response does not say in words what failed, since the words may
    name backends and their addresses. `path_policy` says how routes compare paths that can be spelled in
    other ways (`lb.core.request_path`): by their reading, by their bytes (exact), or by their reading,
    refusing those that backends read in different ways (reject).
    """

    listen: tuple[Listen, ...] = ("127.0.0.1:8080",)
    admin: AdminConfig = AdminConfig()
    state: str | None = None
    access_log: AccessLogSettings = AccessLogSettings()
    demo: bool = False
    trusted_proxies: tuple[NetworkOrUnix, ...] = ()
    half_close: Literal["ask", "left", "reads"] = "ask"
    forwarded: bool = False
    via: TokenOrEmpty = DEFAULT_NAME
    error_details: bool = True
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    pools: dict[str, PoolConfig] = msgspec.field(default_factory=lambda: {DEFAULT_POOL: PoolConfig()})
    path_policy: Literal["normalise", "reject", "exact"] = "normalise"
    routes: tuple[Route, ...] = ()


def demo_backends(ports: Sequence[int] = DEMO_PORTS) -> tuple[BackendSpec, ...]:
    """The backends of the demo, on loopback: server1, server2 and so on."""
    return tuple(
        BackendSpec(id=f"server{number}", url=f"http://127.0.0.1:{port}")
        for number, port in enumerate(ports, 1)
    )
