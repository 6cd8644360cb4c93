"""The rules that single values obey: in the file, on the command line and in the API alike.

Each rule takes what was written and returns the value in our unit (seconds, bytes, counts), or raises a
ValueError that says what was expected. A type such as `Seconds` is an `Annotated` that carries its rule;
`lb.config.decode` finds the rule there.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

import msgspec

from lb.settings import meant_values
from lb.settings.meant_values import first_right, said

MOST_WORKERS = 256
LONGEST_SECONDS = 1e9
HIGHEST_COUNT = 1_000_000_000
DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)", re.ASCII)
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?) ?(B|kB|KB|MB|GB|KiB|MiB|GiB)", re.ASCII)
SIZE_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
SIZE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
ROUTE_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
ROUTE_PATH = re.compile(r"/[^\s?#]*", re.ASCII)
EXPRESSION = re.compile(r"^[~^]|\.[*+]|[\\(\[]")
"""What a regular expression has, and hardly a path or a host."""


def parse_duration(value: object) -> float:
    """Seconds from "500ms", "30s", "5m", "1h" or a number of seconds, 0 to 1e9; ValueError otherwise."""
    seconds: object = value
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        seconds = float(match[1]) * DURATION_UNITS[match[2]]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        meant = said(meant_values.duration(value)) if isinstance(value, str) else ""
        raise ValueError(f'expected a duration such as "500ms", "30s" or seconds, got {value!r}{meant}')
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"{value!r} is not between 0 s and {LONGEST_SECONDS:.0e} s")
    return float(seconds)


def parse_size(value: object) -> int:
    """Bytes from "64KiB", "1MiB", "10MB" or a number of bytes, 0 or more; ValueError otherwise."""
    size: object = value
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        size = int(float(match[1]) * SIZE_UNITS[match[2]])
    if isinstance(size, bool) or not isinstance(size, int):
        meant = said(meant_values.size(value)) if isinstance(value, str) else ""
        raise ValueError(f'expected a size such as "64KiB", "10MB" or bytes, got {value!r}{meant}')
    if size < 0:
        raise ValueError(f"{value!r} is not 0 bytes or more")
    return size


def positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError(f"{value!r} is not more than 0 s")
    return seconds


def positive_size(value: object) -> int:
    if (size := parse_size(value)) == 0:
        raise ValueError(f"{value!r} is not 1 byte or more")
    return size


def positive(value: object) -> int:
    if (count := not_negative(value)) < 1:
        raise ValueError(f"{count} is not 1 or more")
    return count


def not_negative(value: object) -> int:
    count = msgspec.convert(value, int)
    if count > HIGHEST_COUNT:
        raise ValueError(f"that is more than {HIGHEST_COUNT}")
    if count < 0:
        raise ValueError(f"{count} is not 0 or more")
    return count


def share(value: object) -> float:
    """A part of a whole, 0 to 1."""
    part = msgspec.convert(value, float)
    if not 0 <= part <= 1:
        raise ValueError(f"{value!r} is not between 0 and 1")
    return part


def token(value: object) -> str:
    """A token of RFC 9110, such as a field name."""
    text = msgspec.convert(value, str)
    if not TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a token (letters, digits and !#$%&'*+-.^_`|~)")
    return text


def token_or_empty(value: object) -> str:
    """A token, or nothing where that switches something off."""
    return "" if value == "" else token(value)


def file_path(value: object) -> str:
    """The path of a file. Whether there is one shows when it is read."""
    path = msgspec.convert(value, str)
    if not path or "\0" in path:
        raise ValueError("expected the path of a file")
    return path


def network_or_unix(value: object) -> str:
    """A network in its canonical form, where an address stands for itself; or "unix".

    Who comes over IPv4 is known by an IPv4 address, so IPv4 networks within IPv6 become those of IPv4.
    """
    text = msgspec.convert(value, str)
    if text == "unix":
        return text
    try:
        return str(_unmapped(ip_network(text)))
    except ValueError as exc:
        raise ValueError(f'{exc}; expected a network such as 10.0.0.0/8, an address, or "unix"') from None


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def route_host(value: object) -> str:
    """The host of a route in lower case and without a final dot, as requests are compared with it."""
    text = msgspec.convert(value, str)
    try:
        return _route_host(text)
    except ValueError as exc:
        if EXPRESSION.search(text):
            raise ValueError(
                f"{text!r}: there are no regular expressions; *.example.com is every name below it"
            ) from None
        meant = first_right(text, meant_values.hosts, _route_host)
        raise ValueError(f"{exc}{'; for every host leave it out' if text == '*' else meant}") from None


def _route_host(text: str) -> str:
    host = text.lower().removesuffix(".")
    if not ROUTE_HOST.fullmatch(host):
        raise ValueError(f"{text!r} is not a host such as www.example.com or *.example.com, without a port")
    return host


def server_name(value: object) -> str:
    """A name without a wildcard, in lower case and without a final dot; or an IPv4 address."""
    name = route_host(value)
    if name[0] in "*[":
        raise ValueError(f"{value!r} is not a name such as www.example.com")
    return name


def route_path(value: object) -> str:
    """The path of a route without a slash at its end."""
    text = msgspec.convert(value, str)
    if EXPRESSION.search(text) and (text[0] != "/" or text[-1] == "*"):
        raise ValueError(f"{text!r}: there are no regular expressions; /api also takes what is below it")
    if not ROUTE_PATH.fullmatch(text):
        meant = said(f"/{text}") if ROUTE_PATH.fullmatch(f"/{text}") and text[:1].isalnum() else ""
        raise ValueError(f"{text!r} is not the start of a path such as /api{meant}")
    if text.endswith("*"):
        raise ValueError(f"{text!r} ends in a * as if that were any text; /api also takes what is below it")
    return text.rstrip("/") or "/"


Seconds = Annotated[float, positive_duration]
SecondsOrZero = Annotated[float, parse_duration]
"""Seconds, where 0 switches the wait off."""
Size = Annotated[int, positive_size]


def workers(value: object) -> int | Literal["auto"]:
    """A number of processes, or one for each core."""
    if value == "auto":
        return "auto"
    count = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if not 1 <= count <= MOST_WORKERS:
        quotes = " without quotes" if isinstance(value, str) and value.isdecimal() else ""
        raise ValueError(
            f'expected "auto", or a whole number from 1 to {MOST_WORKERS}{quotes}, not {value!r}'
        )
    return count


def tls_version(value: object) -> Literal["1.2", "1.3"]:
    """A version of TLS that may still be spoken."""
    match value:
        case "1.2" | "1.3":
            return value
        case "1.0" | "1.1":
            raise ValueError(f"TLS {value} is broken, and no browser speaks it any more (RFC 8996)")
    raise ValueError(f'expected "1.2" or "1.3", not {value!r}')


Count = Annotated[int, positive]
Number = Annotated[int, not_negative]
Workers = Annotated[int | Literal["auto"], workers]
Share = Annotated[float, share]
Token = Annotated[str, token]
TokenOrEmpty = Annotated[str, token_or_empty]
NetworkOrUnix = Annotated[str, network_or_unix]
RouteHost = Annotated[str, route_host]
RoutePath = Annotated[str, route_path]
FilePath = Annotated[str, file_path]
ServerName = Annotated[str, server_name]
TlsVersion = Annotated[Literal["1.2", "1.3"], tls_version]
