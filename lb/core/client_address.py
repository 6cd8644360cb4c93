"""Who the client is: the peer, or whoever trusted proxies say that they speak for.

A proxy appends the address of its own peer to X-Forwarded-For, so the list is read from its right end. Each
entry was written by the party to its right. Where that party is trusted its word counts, and the walk goes
on; the first address that is not trusted is the client. Whatever stands further left may be invented.

An address has one spelling: IPv4 in IPv6 (`::ffff:192.0.2.1`, as a socket for both kinds has it) is IPv4, and
a zone (`fe80::1%eth0`) is left out, because it means something on this machine only.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

UNIX = "unix"
"""Stands for the address of a client that came over a Unix socket, which has none."""
MOST_HOPS = 32
"""Entries that are looked at; nobody has so many proxies in a row."""
NODE = re.compile(r"(\d[\d.]*)(?::\d{1,5})?|\[([\da-fA-F:.]+(?:%[\w.~-]+)?)\](?::\d{1,5})?", re.ASCII)
"""IPv4, or IPv6 in brackets, perhaps with a port (RFC 7239 section 6)."""
LONGEST_ENTRY = 56
"""Characters of the longest address with brackets and a port, without a zone."""
MOST_REMEMBERED = 4096
"""Addresses that are parsed once: a client sends many requests, and proxies are few."""
MARKS = r"!#$%&'*+.^_`|~\w\-"
PAIR = re.compile(rf'[ \t;]*([{MARKS}]+)=(?:([{MARKS}:\[\]]+)|"((?:[^"\\]|\\.)*)")[ \t]*(?=;|\Z)', re.ASCII)
"""A parameter of Forwarded. Many senders leave out the quotes that `:` and `[` need, which does no harm."""
ESCAPED = re.compile(r"\\(.)")
MOST_COMMAS = 8
"""Commas within quotes in one element of Forwarded; few parameters have any."""
MOST_PARAMETERS = 16
"""Of one element of Forwarded; RFC 7239 knows four. One with more is taken for broken."""


class Trust:
    """Whose word about clients counts: that of the networks in `trusted_proxies`, and of "unix" there."""

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        proxies = tuple(proxies)
        self._trusts_unix = UNIX in proxies
        self._networks = [ip_network(each) for each in proxies if each != UNIX]
        self._holds = lru_cache(MOST_REMEMBERED)(self._is_in_networks)

    def __contains__(self, address: object) -> bool:
        if address == UNIX:
            return self._trusts_unix
        return bool(self._networks) and self._holds(str(address))

    def _is_in_networks(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in network for network in self._networks)


def plain(text: str) -> str:
    """The one spelling of this IP address; ValueError if it is none."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def peer_of(name: object) -> tuple[str, str]:
    """The address of a peer, and the same with its port, from what the socket calls it.

    UNIX stands for both where the peer is on a Unix socket.
    """
    match name:
        case (str(host), int(port), *_):
            host = plain(host) if ":" in host else host
            return host, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return UNIX, UNIX


def without_port(name: str) -> str:
    """The address in `1.2.3.4:80`, `[::1]:80`, or in an address without a port."""
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") == 1 else name


def endpoint_of(name: str) -> tuple[str, int]:
    """The address and the port in what `peer_of` has written; UNIX and 0 for a Unix socket."""
    return (UNIX, 0) if name == UNIX else (without_port(name), int(name.rpartition(":")[2]))


def client_of(peer: str, claims: Mapping[bytes, bytes], trust: Trust) -> str:
    """The address of the client, or UNIX, by what a request from this peer claims.

    Pure, and the only place that decides it. X-Forwarded-For counts; Forwarded (RFC 7239) where there is
    none. An entry that is no address (`unknown`, `_hidden`, rubbish) ends the walk at the one before.
    """
    client = peer
    for entry in _entries(claims):
        if client not in trust or (address := _address(entry)) is None:
            break
        client = address
    return client


def _entries(claims: Mapping[bytes, bytes]) -> Iterator[str]:
    """What each hop says of the one before it, the nearest first."""
    listed = claims.get(b"x-forwarded-for")
    if listed is not None:
        entries = listed.decode("latin-1").rsplit(",", MOST_HOPS)[-MOST_HOPS:]
        return (entry.strip(" \t") for entry in reversed(entries) if entry.strip(" \t"))
    return _forwarded(claims.get(b"forwarded", b"").decode("latin-1"))


def _forwarded(value: str) -> Iterator[str]:
    """The `for` of each element of Forwarded, from the right; "" where an element has none or is broken.

    A comma within quotes splits no element. The part behind it has an odd number of quotes, so it is no whole
    element, and the next comma to the left is tried. What a client sent further left cannot spoil the rest.
    """
    pieces = value.rsplit(",", MOST_HOPS + MOST_COMMAS)
    while pieces:
        element, joined = pieces.pop().strip(" \t;"), 0
        if not element:
            continue
        while (said := _said(element)) is None and pieces and joined < MOST_COMMAS:
            element, joined = f"{pieces.pop()},{element}".strip(" \t;"), joined + 1
        yield said or ""


def _said(element: str) -> str | None:
    """The `for` of this element of Forwarded, "" without one; None where it is not whole."""
    at, said = 0, ""
    for _ in range(MOST_PARAMETERS):
        if (pair := PAIR.match(element, at)) is None:
            break
        at = pair.end()
        if pair[1].lower() == "for":
            said = pair[2] or ESCAPED.sub(r"\1", pair[3])
    return said if at == len(element) else None


def _address(entry: str) -> str | None:
    """The address of an entry, whatever its spelling: with a port, in brackets, or IPv6 without them."""
    return _recent_address(entry) if len(entry) <= LONGEST_ENTRY else _parsed(entry)


def _parsed(entry: str) -> str | None:
    match = NODE.fullmatch(entry)
    text = (match[1] or match[2]) if match is not None else entry
    try:
        return plain(text)
    except ValueError:
        return None


_recent_address = lru_cache(MOST_REMEMBERED)(_parsed)
