"""What was meant by a plain value that stands where a table belongs: mostly its most important key."""

import json
import re

import msgspec

from lb.config.key_places import is_list_of_tables
from lb.settings.balancer_settings import AccessLogSettings, AdminConfig, PoolConfig, Route
from lb.settings.pool_settings import Hash, Hedge, Probe, Retry, Sticky
from lb.settings.tls_settings import CertificateFiles, TlsClients

MAIN: dict[type[msgspec.Struct], tuple[str, type]] = {
    Probe: ("path", str),
    Sticky: ("cookie", str),
    Hash: ("key", str),
    Retry: ("attempts", int),
    AdminConfig: ("listen", str),
    PoolConfig: ("backends", str),
    Route: ("path", str),
    CertificateFiles: ("chain", str),
    TlsClients: ("ca", str),
}
"""The key that a text or a number is probably the value of."""
OFF = {AdminConfig: "admin.enabled = false", AccessLogSettings: 'access_log = "off"'}
SWITCHES = (Probe, Sticky, Hedge)
"""They are on with a table, and off without one."""
ITEM = re.compile(r"\]$")


def is_file_of_log(struct: type[msgspec.Struct], value: str) -> bool:
    """Whether a text for this struct is the path of a log, as nginx has it, and no format."""
    return struct is AccessLogSettings and "/" in value


def in_place_of_table(struct: type[msgspec.Struct], value: object, path: str) -> str:
    """The end of a sentence about a value that is no table, for a struct with this path."""
    name = path.rpartition(".")[2]
    if isinstance(value, str) and is_file_of_log(struct, value):
        return f"; did you mean {name}.file = {json.dumps(value)}?"
    if value is False and struct in OFF:
        return f"; did you mean {OFF[struct]}?"
    if isinstance(value, bool) and struct in SWITCHES:
        return (
            f"; did you mean {name} = {{}}?"
            if value
            else "; without its table there is none, so leave it out"
        )
    key, kind = MAIN.get(struct, ("", type(None)))
    if isinstance(value, kind) and not isinstance(value, bool):
        return f"; did you mean {_written(name, key, json.dumps(value))}?"
    if ITEM.search(path):
        return ""
    return (
        f"; each one begins with [[{path}]]"
        if is_list_of_tables(name)
        else f"; its keys stand below [{path}]"
    )


def _written(name: str, key: str, value: str) -> str:
    table = f"{{ {key} = {value} }}"
    if ITEM.search(name):
        return table
    return f"{name} = [{table}]" if is_list_of_tables(name) else f"{name}.{key} = {value}"
