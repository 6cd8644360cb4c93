"""What the operator may set: `lb.toml` and flags become one frozen `Config`.

Every default and every rule about a setting is here; `lb.config.decode` reads the tables beside the types.
Nothing is half right: either there is a whole `Config`, or one `ConfigError` that lists every mistake by its
key.

Every request has a pool: the first route that matches names it, otherwise it is `default`. So `default` is
added, empty, where the file does not define it; only a file with pools of its own and a route for
everything (no host, path `/`) goes without. An empty pool answers 503 until somebody adds a backend.
"""

import os
import re
import resource
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from lb.config import tokens
from lb.config.decode import Reader, did_you_mean, join
from lb.config.pool_settings import PoolSettings
from lb.config.values import Count, Seconds, Size, Token, parse_size
from lb.core.backend import HOST, ID, BackendSpec
from lb.errors import ConfigError

DEFAULT_POOL = "default"
DEMO_PORTS = (8081, 8082, 8083)
TOKEN_VARIABLE = "LB_ADMIN_TOKEN"
MANY = 1_000_000

ROUTE_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
ROUTE_PATH = re.compile(r"/[^\s?#]*", re.ASCII)
TOML_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


class TcpAddress(msgspec.Struct, frozen=True):
    """A host and a port; an empty host is every interface, port 0 any free port."""

    host: str
    port: int


class FdAddress(msgspec.Struct, frozen=True):
    """A listening socket that this process inherited, as systemd hands it over."""

    fd: int


class UnixAddress(msgspec.Struct, frozen=True):
    """A Unix socket in the file system."""

    path: str


Address = TcpAddress | FdAddress | UnixAddress


def parse_address(text: str) -> Address:
    """The address in `HOST:PORT`, `:PORT`, `[IPV6]:PORT`, `fd://N` or `unix:PATH`; ValueError otherwise."""
    if text.startswith("fd://") and text[5:].isdecimal() and text.isascii():
        return FdAddress(int(text[5:]))
    if text.startswith("unix:") and text[5:].strip("\0"):
        return UnixAddress(text[5:])
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and port.isascii() and int(port) <= 65535:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host
        if not host or (HOST.fullmatch(bare) and (":" in bare) is (bare != host)):
            return TcpAddress(bare, int(port))
    raise ValueError(f"{text!r} is not HOST:PORT, :PORT, [IPV6]:PORT, fd://N or unix:PATH")


def _address(value: object) -> str:
    text = msgspec.convert(value, str)
    parse_address(text)
    return text


def _network(value: object) -> str:
    text = msgspec.convert(value, str)
    try:
        return str(ip_network(text))
    except ValueError as exc:
        raise ValueError(f"{exc}; expected a network such as 10.0.0.0/8 or an address") from None


def _route_host(value: object) -> str:
    host = msgspec.convert(value, str).lower()
    if not ROUTE_HOST.fullmatch(host):
        raise ValueError(f"{value!r} is not a host such as www.example.com or *.example.com, without a port")
    return host


def _route_path(value: object) -> str:
    text = msgspec.convert(value, str)
    if not ROUTE_PATH.fullmatch(text):
        raise ValueError(f"{text!r} is not the start of a path such as /api")
    return text.rstrip("/") or "/"


Listen = Annotated[str, _address]


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each wait may last, in seconds.

    `connect` bounds one attempt to connect; `request_head`, `response_head` the wait for a whole head;
    `body_idle`, `response_idle` each wait for more of a body from the client or the backend; `send` each
    wait for a peer to take bytes; `keepalive` an idle client; `tunnel_idle` a silent tunnel; `queue` the
    wait for a backend below its cap; `drain` a backend's drain where none is asked for; `grace` ours.
    """

    connect: Seconds = 5.0
    request_head: Seconds = 10.0
    body_idle: Seconds = 30.0
    response_head: Seconds = 60.0
    response_idle: Seconds = 60.0
    send: Seconds = 60.0
    keepalive: Seconds = 60.0
    tunnel_idle: Seconds = 3600.0
    queue: Seconds = 30.0
    drain: Seconds = 60.0
    grace: Seconds = 30.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is too much: sizes in bytes, the rest are counts.

    `request_body` None is no limit; `connections` None is what `connection_limit` makes of it; `body_rate` is
    in bytes a second, and 0 asks for none.
    """

    request_head: Size = 16 * 1024
    target: Size = 8 * 1024
    fields: Count = 100
    request_body: Annotated[int, parse_size] | None = None
    body_rate: Annotated[int, parse_size] = 240
    response_head: Size = 64 * 1024
    connections: Count | None = None
    requests_per_connection: Count = 1000


class PoolConfig(PoolSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One pool at the start: its settings and its backends."""

    backends: tuple[BackendSpec, ...] = ()

    @property
    def settings(self) -> PoolSettings:
        """The part that may be changed at runtime."""
        return PoolSettings(**{name: getattr(self, name) for name in PoolSettings.__struct_fields__})


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Requests for `host` below `path` go to `pool`.

    `host` is lower-case: a name, `*.` before a name (anything below it, not itself), or None for all.
    `path` is a prefix that ends at a segment: `/api` is `/api` and `/api/x` but not `/apis`; it ends in a
    slash only where it is `/`.
    """

    host: Annotated[str, _route_host] | None = None
    path: Annotated[str, _route_path] = "/"
    pool: str

    @property
    def takes_everything(self) -> bool:
        return self.host is None and self.path == "/"


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's side. It never holds the token itself; `admin_token` finds it.

    `tokens_file` has more of them, each with its scope (`lb.config.tokens`). `allowed_hosts` are names by
    which it may be called beside its address; `metrics_open` lets /metrics, /alerts.yml and /grafana.json be
    read without a token.
    """

    listen: Listen = "127.0.0.1:9000"
    enabled: bool = True
    token_file: str | None = None
    tokens_file: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    metrics_open: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, complete: whoever holds one need not ask what a missing key means.

    `state` is where runtime changes are kept (None: nowhere). `access_log` auto is text on a terminal and
    JSON otherwise. X-Forwarded-* and X-Request-Id are kept from clients in `trusted_proxies`; `forwarded`
    sends RFC 7239's Forwarded as well; `via` is our name in Via and Proxy-Status. Without `error_details`
    clients are not told in words what failed behind us, which may name backends and their addresses.
    """

    listen: tuple[Listen, ...] = ("127.0.0.1:8080",)
    admin: AdminConfig = AdminConfig()
    state: str | None = None
    access_log: Literal["auto", "off", "text", "json"] = "auto"
    demo: bool = False
    trusted_proxies: tuple[Annotated[str, _network], ...] = ()
    forwarded: bool = False
    via: Token = "lb"
    error_details: bool = True
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    pools: dict[str, PoolConfig] = msgspec.field(default_factory=lambda: {DEFAULT_POOL: PoolConfig()})
    routes: tuple[Route, ...] = ()


def load(path: str | os.PathLike[str]) -> Config:
    """The file at `path`; ConfigError if it cannot be read or holds a mistake."""
    return build(read_file(path), os.fspath(path))


def parse(text: str, source: str = "") -> Config:
    """The same for text; `source` stands before the message of a ConfigError."""
    return build(read_toml(text, source or "TOML"), source)


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file, not checked yet."""
    name = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode()
    except OSError as exc:
        raise ConfigError(f"{name}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{name}, line {line}: not UTF-8, as TOML must be") from exc
    return read_toml(text, name)


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The tables of a TOML text, not checked yet; ConfigError with line and column of a slip."""
    try:
        return tomllib.loads(text)
    except ValueError as exc:  # TOMLDecodeError, or int() itself about thousands of digits
        found = TOML_PLACE.fullmatch(str(exc))
        if found is None:
            raise ConfigError(f"{source}: {exc}") from exc
        line = found[2] or text.count("\n") + 1
        column = found[3] or len(text) - text.rfind("\n")
        raise ConfigError(f"{source}, line {line}, column {column}: {found[1]}") from exc


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`: tables grow together, any other value above wins, lists whole."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(there := merged.get(key), Mapping) and isinstance(value, Mapping):
            merged[key] = overlay(there, value)
        else:
            merged[key] = value
    return merged


def build(raw: Mapping[str, Any], source: str = "") -> Config:
    """The Config of these tables; one ConfigError with every mistake in them, `source` before it."""
    reader = Reader()
    config = cast("Config", reader.struct(Config, raw, ""))  # no field of it is required
    mistakes = [*reader.mistakes, *_contradictions(config)]
    if mistakes:
        raise wrong(mistakes, source)
    return _completed(config)


def wrong(mistakes: Sequence[str], source: str) -> ConfigError:
    """The error that lists these mistakes, with `source` before them."""
    return ConfigError(_list(mistakes, source), mistakes)


def _list(mistakes: Sequence[str], source: str) -> str:
    if len(mistakes) == 1:
        return f"{source}: {mistakes[0]}" if source else mistakes[0]
    lines = [f"{source or 'settings'}: {len(mistakes)} mistakes", *mistakes]
    return "\n  ".join(lines)


def _contradictions(config: Config) -> Iterator[str]:
    """What is wrong between settings that are each right; items that are None were complained of already."""
    if not config.listen:
        yield "listen: expected one address or more"
    for address in sorted({a for a in config.listen if config.listen.count(a) > 1 and not a.endswith(":0")}):
        yield f"listen: {address} stands there twice"
    for name in config.pools:
        if not ID.fullmatch(name):
            yield f"{join('pools', name)}: a pool's name may hold letters, digits and . _ ~ - only"
    if config.demo and DEFAULT_POOL in config.pools and config.pools[DEFAULT_POOL].backends:
        yield f"demo: the demo brings its own backends, and pools.{DEFAULT_POOL} has some already"
    names = dict.fromkeys(_pool_names(config))
    for index, route in enumerate(config.routes):
        if route is not None and route.pool not in names:
            yield f"routes[{index}].pool: there is no pool {route.pool!r}{did_you_mean(route.pool, names)}"
    yield from _duplicates(config)


def _duplicates(config: Config) -> Iterator[str]:
    places: dict[str, str] = {}
    for name, pool in config.pools.items():
        for index, backend in enumerate(pool.backends if pool else ()):
            if backend is None:
                continue
            place = f"{join('pools', name)}.backends[{index}]"
            if (first := places.setdefault(backend.id, place)) != place:
                yield f"{place}.id: {backend.id!r} is the id of {first} too"


def _pool_names(config: Config) -> list[str]:
    """The pools as given, and `default` unless it can never be reached."""
    is_default_needed = config.demo or not any(route and route.takes_everything for route in config.routes)
    names = list(config.pools)
    return names if DEFAULT_POOL in names or not is_default_needed else [*names, DEFAULT_POOL]


def _completed(config: Config) -> Config:
    pools = {name: config.pools.get(name, PoolConfig()) for name in _pool_names(config)}
    if config.demo:
        pools[DEFAULT_POOL] = msgspec.structs.replace(pools[DEFAULT_POOL], backends=demo_backends())
    return msgspec.structs.replace(config, pools=pools)


def demo_backends(ports: Sequence[int] = DEMO_PORTS) -> tuple[BackendSpec, ...]:
    """The backends of the demo: server1, server2 and so on, on loopback."""
    return tuple(
        BackendSpec(id=f"server{number}", url=f"http://127.0.0.1:{port}")
        for number, port in enumerate(ports, 1)
    )


def connection_limit(limits: Limits) -> int:
    """How many clients may be connected at once.

    Unless it is set: 45 % of our file descriptors, for an exchange needs two, one to each side, and some
    must be left for listeners, the admin side and files.
    """
    if limits.connections is not None:
        return limits.connections
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MANY if soft == resource.RLIM_INFINITY else max(1, soft * 45 // 100)


def admin_token(admin: AdminConfig, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token of the whole operator's side, or None where there is none (there may be others in a file).

    It comes from `token_file`, or else from LB_ADMIN_TOKEN. ConfigError where it is none that a client could
    send, or where there is none and the address can be reached from elsewhere. No message shows a token.
    """
    others = () if admin.tokens_file is None else tokens.read(admin.tokens_file)
    if admin.token_file is not None:
        return _sendable(_read_token(admin.token_file), f"admin.token_file: {admin.token_file}")
    if TOKEN_VARIABLE in environ:
        return _sendable(environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE)
    if admin.enabled and not others and not is_loopback(parse_address(admin.listen)):
        raise ConfigError(
            f"admin.listen: {admin.listen} can be reached from other machines, and there is no token; "
            f"set admin.token_file or {TOKEN_VARIABLE}, or admin.tokens_file, or listen on 127.0.0.1"
        )
    return None


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace").strip()
    except OSError as exc:
        raise ConfigError(f"admin.token_file: {path} cannot be read: {exc.strerror}") from exc


def _sendable(token: str, where: str) -> str:
    if not tokens.is_sendable(token):
        raise ConfigError(f"{where}: expected one word of visible ASCII characters")
    return token


def is_loopback(address: Address) -> bool:
    """Only this machine can reach it. An inherited socket may be anything, so it counts as open."""
    if not isinstance(address, TcpAddress):
        return isinstance(address, UnixAddress)
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return address.host.lower() == "localhost"
