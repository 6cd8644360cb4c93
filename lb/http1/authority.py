"""A host and perhaps a port, as in Host and in the authority of a URL (RFC 3986 section 3.2.2)."""

import re
from functools import lru_cache
from ipaddress import IPv6Address

HOST = re.compile(
    rb"(?:(?:[-._~!$&'()*+;=0-9A-Za-z]|%[0-9A-Fa-f]{2})+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?"
)
"""RFC 3986 section 3.2.2 without user information and without a comma."""
HOST_LIMIT = 4096  # far beyond any name; the pattern takes 150 times the memory of what it matches


@lru_cache(256)  # a balancer serves few names, and asks for each request
def is_host(value: bytes) -> bool:
    """A host and perhaps a port (RFC 9110 section 7.2); an empty one is legal, but useless to a balancer."""
    match = HOST.fullmatch(value) if len(value) <= HOST_LIMIT else None
    if match is None or (match[2] and int(match[2]) > 65535):
        return False
    return not match[1] or _is_ipv6(match[1].decode())


def _is_ipv6(literal: str) -> bool:
    try:
        IPv6Address(literal)
    except ValueError:
        return False
    return True
