"""The keys of the configuration, as a file that could be used: each with its default, and what it means.

A key without a default is a comment, which says what would stand there. The tables of optional features are
comments too, from their head on.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from inspect import cleandoc
from textwrap import indent
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from admin.protocol.attribute_docs import attribute_docs
from admin.reference.topic import Entry, Topic, wrapped
from lb.config.reload_plan import ADMIN_AT_START, AT_START
from lb.settings import acme_settings, pool_values, values
from lb.settings.acme_settings import AcmeSettings, ExternalAccount
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import Config, PoolConfig, Route
from lb.settings.cluster_settings import ClusterSettings, whole_seconds
from lb.settings.discover_settings import FROM_TTL, Defaults, Discover
from lb.settings.pool_settings import Hedge, PoolSettings, Probe, Sticky
from lb.settings.tls_settings import CertificateFiles, TlsClients

PREFACE = """\
# Every key of lb.toml with its default; commented keys have none. `lb config check FILE` tells every mistake.
# Durations are "500ms", "30s", "5m", "1h" or seconds; sizes are "64KiB", "10MB" or bytes; shares are 0 to 1.
# A reload takes up every key but those marked *restart*; an upgrade takes up those too.
# `lb run --set KEY=VALUE` sets any of them: --set timeouts.connect=2s. Here x is the name of a pool.
"""
EXAMPLES = {
    "cluster": """\
Two balancers on one etcd. Both read this lb.toml:
    [cluster]
    etcd = ["http://127.0.0.1:2379"]
    [[pools.default.backends]]
    id = "web1"
    url = "http://127.0.0.1:3000"
To try it on one machine; on two the names are those of the hosts, and no flag is needed:
    $ etcd &
    $ lb run --set cluster.name=lb-1 &
    $ lb run --set cluster.name=lb-2 --listen :8081 --admin 127.0.0.1:9001 &
    $ lb backends drain web1            # "web1 is drained: ..., on all 2 balancers"
"""
}
"""What stands before all that is said of a table."""
RULES: Mapping[object, str] = {
    values.positive_duration: "a duration",
    values.parse_duration: "a duration, or 0",
    values.positive_size: "a size",
    values.parse_size: "a size, or 0",
    values.positive: "a whole number, 1 or more",
    values.not_negative: "a whole number, 0 or more",
    values.share: "a share",
    values.token: "a token",
    values.token_or_empty: 'a token, or ""',
    values.file_path: "the path of a file",
    values.network_or_unix: 'networks, or "unix"',
    values.route_host: "a host",
    values.server_name: "a name",
    values.route_path: "the beginning of a path",
    values.workers: 'a whole number, or "auto"',
    pool_values.statuses: "statuses and ranges of them",
    acme_settings.path: "a path",
    acme_settings.names: f'a list of names, or "{acme_settings.FROM_ROUTES}"',
    acme_settings.directories: "a list of words and URLs",
    acme_settings.contacts: "a list of addresses",
    whole_seconds: "a duration of whole seconds",
}
"""What the rules of values want; of other rules the plain type is said."""
PLAIN = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}
DURATIONS = (values.positive_duration, values.parse_duration, whole_seconds)
SIZES = (values.positive_size, values.parse_size)
COLUMN = 40
"""Where it is said what may stand behind a key."""
UNITS = ((3600, "h"), (60, "m"), (1, "s"))
BINARY = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


class Table(NamedTuple):
    """A table of the file: its name as one looks it up, its head, and the struct that it becomes."""

    name: str
    head: str
    struct: type[msgspec.Struct]
    is_optional: bool = False


def tables() -> Iterator[Table]:
    """All tables, in the order of the file."""
    yield Table("", "", Config)
    for key in ("admin", "access_log", "timeouts", "limits", "tls"):
        yield Table(key, f"[{key}]", type(getattr(Config(), key)))
    yield Table("tls.certificates", "[[tls.certificates]]", CertificateFiles, is_optional=True)
    yield Table("tls.clients", "[[tls.clients]]", TlsClients, is_optional=True)
    yield Table("tls.acme", "[tls.acme]", AcmeSettings, is_optional=True)
    yield Table("tls.acme.eab", "[[tls.acme.eab]]", ExternalAccount, is_optional=True)
    yield Table("upgrade", "[upgrade]", type(Config().upgrade))
    yield Table("cluster", "[cluster]", ClusterSettings, is_optional=True)
    yield Table("pools", "[pools.x]", PoolConfig)
    yield from _of_pools()
    yield Table("pools.backends", "[[pools.x.backends]]", BackendSpec, is_optional=True)
    yield Table("pools.discover", "[[pools.x.discover]]", Discover, is_optional=True)
    yield Table("pools.discover.defaults", "[pools.x.discover.defaults]", Defaults, is_optional=True)
    yield Table("routes", "[[routes]]", Route, is_optional=True)


def _of_pools() -> Iterator[Table]:
    optional: dict[str, type[msgspec.Struct]] = {"probe": Probe, "hedge": Hedge, "sticky": Sticky}
    for key in PoolSettings.__struct_fields__:
        struct: type[msgspec.Struct] = optional.get(key) or type(getattr(PoolSettings(), key))
        if issubclass(struct, msgspec.Struct):
            yield Table(f"pools.{key}", f"[pools.x.{key}]", struct, is_optional=key in optional)


def settings_topic() -> Topic:
    """Every key, table by table."""
    return Topic(tuple(each for table in tables() for each in _entries(table)), PREFACE)


def _entries(table: Table) -> Iterator[Entry]:
    """The head of the table, and each of its keys that is no table itself."""
    if table.head:
        example = indent(EXAMPLES.get(table.name, ""), "# ")
        said = _comment(cleandoc(table.struct.__doc__ or ""))
        yield Entry(
            table.name, f"{example}{said}\n{'# ' if table.is_optional else ''}{table.head}\n", table.head
        )
    hints, docs = get_type_hints(table.struct, include_extras=True), attribute_docs(table.struct)
    for field in msgspec.structs.fields(table.struct):
        text = docs.get(field.name, "")
        if not text.startswith("See ["):
            name = f"{table.name}.{field.name}" if table.name else field.name
            yield Entry(name, _key(table, field, hints[field.name], text), table.head)


def _key(table: Table, field: msgspec.structs.FieldInfo, hint: object, text: str) -> str:
    line, what = assigned(field, hint)
    if table.is_optional and not line.startswith("# "):
        line = f"# {line}"
    mark = ", restart" if _is_at_start(table.name, field.name) else ""
    return f"{_comment(text)}\n{line.ljust(COLUMN)}  # {what}{mark}\n"


def _is_at_start(table: str, key: str) -> bool:
    return (not table and key in AT_START) or (table == "admin" and key in ADMIN_AT_START)


def _comment(text: str) -> str:
    return wrapped(text, "# ")


def assigned(field: msgspec.structs.FieldInfo, hint: object) -> tuple[str, str]:
    """The line of a key, and what may stand there."""
    what, rule = in_words(hint)
    if field.required:
        return f"# {field.name} = ...", f"{what}; needed"
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if field.name == "every":  # its None stands for a word
        return f'{field.name} = "{FROM_TTL}"', what
    if default in (None, ""):
        return f"# {field.name} = ...", what
    return f"{field.name} = {_toml(default, rule)}", what


def in_words(hint: object) -> tuple[str, Callable[[object], object] | None]:
    """What may stand there, and the rule that judges it."""
    origin, args = get_origin(hint), get_args(hint)
    if NoneType in args:
        return in_words(next(arg for arg in args if arg is not NoneType))
    if origin is Annotated:
        rule = args[1]
        return RULES.get(rule) or in_words(args[0])[0], rule
    if origin is Literal:
        return f"one of {', '.join(json.dumps(arg) for arg in args)}", None
    if origin is tuple:
        what = in_words(args[0])[0]
        return what if what.startswith(("networks", "statuses")) else f"a list; each {what}", None
    kind = origin if isinstance(origin, type) else hint
    return (PLAIN.get(kind, "text") if isinstance(kind, type) else "text"), None


def _toml(value: Any, rule: object) -> str:  # noqa: ANN401 - plain data
    if rule in DURATIONS and isinstance(value, float):
        return _duration(value)
    if rule in SIZES and isinstance(value, int):
        return next(
            (f'"{value // size}{unit}"' for size, unit in BINARY if value and value % size == 0), str(value)
        )
    if isinstance(value, dict):
        return "{}" if not value else json.dumps(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _duration(seconds: float) -> str:
    if seconds == 0:
        return "0"
    if seconds < 1:
        return f'"{seconds * 1000:g}ms"'
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0 or unit == "s")
    return f'"{seconds / size:g}{unit}"'
