"""What the operator may set: `lb.toml` and flags become one frozen `Config`.

Every default and every message about a setting is here. A field's type says how its value is read: plain
types by msgspec, an `Annotated` one by the rule that stands in it: a function from what the file holds to
the value, ValueError or msgspec's own error where it is wrong. Nothing is half right: either there
is a whole `Config`, or one `ConfigError` that lists every mistake by the path of its key.

Every request has a pool: the first route that matches names it, otherwise it is `default`. So `default` is
added, empty, where the file does not define it; only a file with pools of its own and a route for
everything (no host, path `/`) goes without. An empty pool answers 503 until somebody adds a backend.
"""

import json
import os
import re
import resource
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from lb.core.backend import HOST, ID, BackendSpec
from lb.core.policy import POLICIES
from lb.errors import ConfigError

T = TypeVar("T")

DEFAULT_POOL = "default"
DEMO_PORTS = (8081, 8082, 8083)
TOKEN_VARIABLE = "LB_ADMIN_TOKEN"
MANY = 1_000_000
LONGEST_SECONDS = 1e9

DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)", re.ASCII)
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?) ?(B|kB|KB|MB|GB|KiB|MiB|GiB)", re.ASCII)
SIZE_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
SIZE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
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


def parse_duration(value: object) -> float:
    """Seconds from "500ms", "30s", "5m", "1h" or a number of seconds, 0 to 1e9; ValueError otherwise."""
    seconds: object = value
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        seconds = float(match[1]) * DURATION_UNITS[match[2]]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f'expected a duration such as "500ms", "30s" or seconds, got {value!r}')
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"{value!r} is not between 0 s and {LONGEST_SECONDS:.0e} s")
    return float(seconds)


def parse_size(value: object) -> int:
    """Bytes from "64KiB", "1MiB", "10MB" or a number of bytes, 0 or more; ValueError otherwise."""
    size: object = value
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        size = int(float(match[1]) * SIZE_UNITS[match[2]])
    if isinstance(size, bool) or not isinstance(size, int):
        raise ValueError(f'expected a size such as "64KiB", "10MB" or bytes, got {value!r}')
    if size < 0:
        raise ValueError(f"{value!r} is less than nothing")
    return size


def _positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError(f"{value!r} is not more than 0 s")
    return seconds


def _positive_size(value: object) -> int:
    if (size := parse_size(value)) == 0:
        raise ValueError(f"{value!r} is not 1 byte or more")
    return size


def _positive(value: object) -> int:
    if (count := msgspec.convert(value, int)) < 1:
        raise ValueError(f"{count} is not 1 or more")
    return count


def _not_negative(value: object) -> int:
    if (count := msgspec.convert(value, int)) < 0:
        raise ValueError(f"{count} is not 0 or more")
    return count


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


def _policy(value: object) -> str:
    name = msgspec.convert(value, str)
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name!r}{_did_you_mean(name, POLICIES)}")
    return name


def _token(value: object) -> str:
    text = msgspec.convert(value, str)
    if not TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a token (letters, digits and !#$%&'*+-.^_`|~)")
    return text


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


Seconds = Annotated[float, _positive_duration]
Size = Annotated[int, _positive_size]
Count = Annotated[int, _positive]
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


class PoolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One pool at the start; `queue` is how many requests may wait when every backend is at its cap."""

    policy: Annotated[str, _policy] = "round_robin"
    queue: Annotated[int, _not_negative] = 1024
    backends: tuple[BackendSpec, ...] = ()


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

    `allowed_hosts` are names by which it may be called beside its address; `metrics_open` lets /metrics be
    read without the token.
    """

    listen: Listen = "127.0.0.1:9000"
    enabled: bool = True
    token_file: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    metrics_open: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, complete: whoever holds one need not ask what a missing key means.

    `state` is where runtime changes are kept (None: nowhere). `access_log` auto is text on a terminal and
    JSON otherwise. X-Forwarded-* and X-Request-Id are kept from clients in `trusted_proxies`; `forwarded`
    sends RFC 7239's Forwarded as well; `via` is our name in Via and Proxy-Status.
    """

    listen: tuple[Listen, ...] = ("127.0.0.1:8080",)
    admin: AdminConfig = AdminConfig()
    state: str | None = None
    access_log: Literal["auto", "off", "text", "json"] = "auto"
    demo: bool = False
    trusted_proxies: tuple[Annotated[str, _network], ...] = ()
    forwarded: bool = False
    via: Annotated[str, _token] = "lb"
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
        raise ConfigError(_list(mistakes, source))
    return _completed(config)


def _list(mistakes: Sequence[str], source: str) -> str:
    if len(mistakes) == 1:
        return f"{source}: {mistakes[0]}" if source else mistakes[0]
    lines = [f"{source or 'settings'}: {len(mistakes)} mistakes", *mistakes]
    return "\n  ".join(lines)


def _did_you_mean(word: str, known: Mapping[str, object]) -> str:
    """The end of a sentence about a word that is not one of these."""
    if close := get_close_matches(word, known, n=1):
        return f", did you mean `{close[0]}`?"
    return f"; there are: {', '.join(known)}" if known else ""


class Reader:
    """Walks the tables beside the types, and notes every mistake instead of stopping at the first.

    Where a value is wrong its field keeps its default, and an item its place as None, so that the rest can
    still be looked at. What comes out is a Config only while `mistakes` is empty.
    """

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def value(self, hint: object, value: object, path: str) -> object:
        """The value as its type wants it, or None with a mistake noted."""
        try:
            return self._read(hint, value, path)
        except msgspec.ValidationError as exc:
            choices = f", expected one of {', '.join(get_args(hint))}" if get_origin(hint) is Literal else ""
            message = str(exc).replace("`", "")
            self._note(path, message[0].lower() + message[1:] + choices)
        except ValueError as exc:
            self._note(path, str(exc))
        return None

    def _read(self, hint: object, value: object, path: str) -> object:
        origin, args = get_origin(hint), get_args(hint)
        if NoneType in args:
            return self._read(next(arg for arg in args if arg is not NoneType), value, path)
        if origin is tuple:
            items = _expected(list, "list", value)
            return tuple(self.value(args[0], item, f"{path}[{index}]") for index, item in enumerate(items))
        if origin is dict:
            table = _expected(dict, "table", value)
            return {key: self.value(args[1], item, _join(path, key)) for key, item in table.items()}
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(hint, _expected(dict, "table", value), path)
        return _rule(hint)(value)

    def struct(
        self, cls: type[msgspec.Struct], table: Mapping[str, object], path: str
    ) -> msgspec.Struct | None:
        """An instance of the struct, or None where the table lacks what it cannot do without."""
        hints = get_type_hints(cls, include_extras=True)
        for key in table:
            if key not in hints:
                self._note(_join(path, key), f"unknown key{_did_you_mean(key, hints)}")
        required = [field.name for field in msgspec.structs.fields(cls) if field.required]
        for key in required:
            if key not in table:
                self._note(_join(path, key), "is missing")
        read = {key: self.value(hints[key], table[key], _join(path, key)) for key in hints if key in table}
        values = {key: value for key, value in read.items() if value is not None}
        return self._made(cls(**values), path) if values.keys() >= set(required) else None

    def _made(self, made: msgspec.Struct, path: str) -> msgspec.Struct | None:
        try:
            return made.checked() if isinstance(made, BackendSpec) else made
        except ValueError as exc:
            self.mistakes.append(f"{path}.{exc}")
            return None

    def _note(self, path: str, mistake: str) -> None:
        self.mistakes.append(f"{path}: {mistake}")


def _expected(kind: type[T], name: str, value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"expected {name}, got {type(value).__name__}")
    return value


def _rule(hint: object) -> Callable[[object], object]:
    """What reads a value of this type: the rule that an `Annotated` carries, otherwise msgspec."""
    if get_origin(hint) is not Annotated:
        return lambda value: msgspec.convert(value, hint)
    _kind, rule = get_args(hint)
    return cast("Callable[[object], object]", rule)


def _join(path: str, key: str) -> str:
    key = key if ID.fullmatch(key) and "." not in key else json.dumps(key)
    return f"{path}.{key}" if path else key


def _contradictions(config: Config) -> Iterator[str]:
    """What is wrong between settings that are each right; items that are None were complained of already."""
    if not config.listen:
        yield "listen: expected one address or more"
    for name in config.pools:
        if not ID.fullmatch(name):
            yield f"{_join('pools', name)}: a pool's name may hold letters, digits and . _ ~ - only"
    if config.demo and DEFAULT_POOL in config.pools and config.pools[DEFAULT_POOL].backends:
        yield f"demo: the demo brings its own backends, and pools.{DEFAULT_POOL} has some already"
    names = dict.fromkeys(_pool_names(config))
    for index, route in enumerate(config.routes):
        if route is not None and route.pool not in names:
            yield f"routes[{index}].pool: there is no pool {route.pool!r}{_did_you_mean(route.pool, names)}"
    yield from _duplicates(config)


def _duplicates(config: Config) -> Iterator[str]:
    places: dict[str, str] = {}
    for name, pool in config.pools.items():
        for index, backend in enumerate(pool.backends if pool else ()):
            if backend is None:
                continue
            place = f"{_join('pools', name)}.backends[{index}]"
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
    """The token that the operator's side asks for, or None where it asks for none.

    It comes from `token_file`, or else from LB_ADMIN_TOKEN. ConfigError where it is none that a client could
    send, or where there is none and the address can be reached from elsewhere. No message shows a token.
    """
    if admin.token_file is not None:
        return _sendable(_read_token(admin.token_file), f"admin.token_file: {admin.token_file}")
    if TOKEN_VARIABLE in environ:
        return _sendable(environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE)
    if admin.enabled and not is_loopback(parse_address(admin.listen)):
        raise ConfigError(
            f"admin.listen: {admin.listen} can be reached from other machines, and there is no token; "
            f"set admin.token_file or {TOKEN_VARIABLE}, or listen on 127.0.0.1"
        )
    return None


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace").strip()
    except OSError as exc:
        raise ConfigError(f"admin.token_file: {path} cannot be read: {exc.strerror}") from exc


def _sendable(token: str, where: str) -> str:
    if not (token and token.isascii() and token.isprintable() and " " not in token):
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
