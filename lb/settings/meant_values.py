"""What was probably meant by a value that is not right: the end of a message, which can be pasted.

Each function takes what was written and returns the value meant, None where nothing is known.
"""

import re
from collections.abc import Callable, Iterator, Mapping

UNITS: Mapping[str, str] = {
    **dict.fromkeys(("ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
SECONDS = {"s": 1, "m": 60, "h": 3600}
HOURS_OF_A_DAY = 24
NUMBER_AND_UNIT = re.compile(r"(\d{1,12}(?:[.,]\d{1,6})?)\s*([a-z]*)", re.ASCII)
PARTS = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
SIZES: Mapping[str, str] = {
    **{unit: f"{unit.upper()}iB" for unit in "kmg"},
    **{f"{unit}ib": f"{unit.upper()}iB" for unit in "kmg"},
    **{f"{unit}b": f"{unit.upper()}B" for unit in "kmg"},
    **dict.fromkeys(("", "b", "byte", "bytes"), "B"),
}
POLICIES: Mapping[str, str] = {
    **dict.fromkeys(("roundrobin", "rr", "wrr", "static_rr", "weighted_round_robin"), "round_robin"),
    **dict.fromkeys(("weighted", "smooth"), "round_robin"),
    **dict.fromkeys(("leastconn", "least_conn", "least_connections", "least_connection"), "least_requests"),
    **dict.fromkeys(("least_request", "least_time", "lc", "wlc"), "least_requests"),
    **dict.fromkeys(("p2c", "random_two", "random_choose", "power_of_two"), "two_choices"),
    **dict.fromkeys(("iphash", "ip_hash", "client_ip_hash", "source", "uri", "uri_hash"), "hash"),
    **dict.fromkeys(("consistent", "consistent_hash", "ring_hash", "maglev", "hdr"), "hash"),
}
"""The policies of others, each with ours that is closest."""
SOCKET = re.compile(r"(?:https?://)?(?:unix:)?/{1,3}([^/:?#].*)")
SCHEME = re.compile(r"^(?:(?:https?|tcp|h2c?|wss?|grpcs?)?:?/{1,3}|https?:(?!\d))", re.IGNORECASE)
"""What stands before a host of HTTP, whether it is right or not."""
BARE_IPV6 = re.compile(r"([0-9A-Fa-f]*::?[0-9A-Fa-f:]*):(\d{1,5})")
HIGHEST_PORT = 65535
LONGEST = 300
"""Of what is longer nothing is suggested."""


def said(meant: str | None) -> str:
    """The end of a sentence that suggests this value in quotes; empty for None."""
    return "" if meant is None else f'; did you mean "{meant}"?'


def first_right(text: str, candidates: Callable[[str], Iterator[str]], parse: Callable[[str], object]) -> str:
    """The end of a sentence that suggests the first of these values that can be parsed."""
    for each in candidates(text.strip()) if len(text) <= LONGEST else ():
        try:
            parse(each)
        except ValueError:
            continue
        return said(each)
    return ""


def duration(text: str) -> str | None:
    text = text.strip().lower()
    found = NUMBER_AND_UNIT.fullmatch(text)
    if found is not None and (unit := UNITS.get(found[2])) is not None:
        number = found[1].replace(",", ".")
        if unit != "d":
            return f"{number}{unit}"
        return f"{float(number) * HOURS_OF_A_DAY:g}h"
    parts = PARTS.fullmatch(text)
    if parts is None or not text:
        return None
    return f"{sum(int(part or 0) * SECONDS[unit] for part, unit in zip(parts.groups(), 'hms', strict=True))}s"


def size(text: str) -> str | None:
    found = NUMBER_AND_UNIT.fullmatch(text.strip().lower())
    if found is None or found[2] not in SIZES:
        return None
    return f"{found[1].replace(',', '.')}{SIZES[found[2]]}"


def policy(name: str) -> str | None:
    return POLICIES.get(name.lower().replace("-", "_").replace(" ", "_"))


def addresses(text: str) -> Iterator[str]:
    """Addresses to listen on that may be meant; the first that is one is."""
    if "fd:" in text or "unix:" in text:
        return
    is_tls = text[:5].lower() == "https"
    scheme, port = ("https://", 8443) if is_tls else ("", 8080)
    bare = SCHEME.sub("", text).rstrip("/")
    if bare.isdecimal():
        yield f"{scheme}:{bare}"
    yield f"{scheme}{bare.removeprefix('*')}"
    if found := BARE_IPV6.fullmatch(bare):
        yield f"{scheme}[{found[1]}]:{found[2]}"
    yield f"{scheme}{bare}:{port}"


def hosts(text: str) -> Iterator[str]:
    """Hosts of a route that may be meant; the first that is one is."""
    bare = re.sub(r":\d*$", "", SCHEME.sub("", text).partition("/")[0])
    yield f"*{bare}" if bare.startswith(".") else bare


def urls(text: str) -> Iterator[str]:
    """URLs of a backend that may be meant; the first that is one is."""
    if (found := SOCKET.fullmatch(text)) and (text.startswith("/") or "unix:" in text):
        yield f"unix:/{found[1]}"
    if "=" in text:
        yield text.partition("=")[2]
    scheme = "https://" if text[:5].lower() == "https" else "http://"
    bare = re.split(r"[/\s,;?]", SCHEME.sub("", text), maxsplit=1)[0].rpartition("@")[2]
    if bare.isdecimal() and int(bare) <= HIGHEST_PORT:
        yield f"{scheme}127.0.0.1:{bare}"
    if bare.startswith((":", "*:")):
        yield f"{scheme}127.0.0.1{bare.removeprefix('*')}"
    if found := BARE_IPV6.fullmatch(bare):
        yield f"{scheme}[{found[1]}]:{found[2]}"
    if not bare.endswith(":"):  # of another scheme
        yield f"{scheme}{bare}"
