"""The header of the PROXY protocol that a backend gets, as haproxy writes it (send-proxy, send-proxy-v2).

Where an address is unknown, or a Unix socket, the header says nothing of addresses: UNKNOWN in version 1,
LOCAL in version 2. That fits probes too, which have no client. Where one address is IPv4 and the other IPv6,
both are written as IPv6, because a header has one family.
"""

from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Literal

from lb.core import proxy_tlvs
from lb.core.client_address import UNIX
from lb.core.proxy_tlvs import Tlv
from lb.net.proxy_header import (
    FIXED,
    FIXED_END,
    INET6_BLOCK,
    INET_BLOCK,
    LOCAL,
    LONGEST_BLOCK,
    MAPPED,
    PROXY,
    SIGNATURE,
    UNSPECIFIED,
)

TCP4, TCP6 = 0x11, 0x21

Endpoint = tuple[str, int]
"""An IP address, or UNIX, and a port."""
Packed = tuple[bytes, bytes]
"""Source and destination, both IPv4 or both IPv6."""


def proxy_header(
    version: Literal[1, 2], source: Endpoint | None, destination: Endpoint | None, tlvs: Iterable[Tlv] = ()
) -> bytes:
    """The header to be sent first on a connection made for `source`, which had connected to `destination`.

    None stands for an unknown address. Version 1 has no room for TLVs, so they are left out there. Raises
    ValueError where the header would be longer than LONGEST_BLOCK bytes, which is the most that we take.
    """
    if source is None or destination is None or UNIX in (source[0], destination[0]):
        return b"PROXY UNKNOWN\r\n" if version == 1 else _block(LOCAL, UNSPECIFIED, b"", tlvs)
    packed = _in_one_family(_packed(source[0]), _packed(destination[0]))
    ports = source[1], destination[1]
    if version == 1:
        return _line(packed, *ports)
    family, block = (TCP4, INET_BLOCK) if len(packed[0]) == 4 else (TCP6, INET6_BLOCK)
    return _block(PROXY, family, block.pack(*packed, *ports), tlvs)


def _packed(host: str) -> bytes:
    """The bytes of an address, without a zone, which has a meaning on this machine only."""
    return inet_pton(AF_INET6 if ":" in host else AF_INET, host.partition("%")[0])


def _in_one_family(source: bytes, destination: bytes) -> Packed:
    if len(source) == len(destination):
        return source, destination
    return _as_inet6(source), _as_inet6(destination)


def _as_inet6(packed: bytes) -> bytes:
    return MAPPED + packed if len(packed) == 4 else packed


def _line(packed: Packed, source_port: int, destination_port: int) -> bytes:
    family, name = (AF_INET, "TCP4") if len(packed[0]) == 4 else (AF_INET6, "TCP6")
    source, destination = (inet_ntop(family, each) for each in packed)
    return f"PROXY {name} {source} {destination} {source_port} {destination_port}\r\n".encode()


def _block(command: int, family: int, addresses: bytes, tlvs: Iterable[Tlv]) -> bytes:
    rest = addresses + proxy_tlvs.joined(tlvs)
    if (size := FIXED_END + len(rest)) > LONGEST_BLOCK:
        raise ValueError(f"this PROXY header has {size} bytes, and {LONGEST_BLOCK} are the most")
    return SIGNATURE + FIXED.pack(command, family, len(rest)) + rest
