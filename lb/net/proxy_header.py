"""The header of the PROXY protocol: what a balancer in front says of a connection before its first byte.

haproxy's proxy-protocol.txt defines two versions, which differ in the first byte. Version 1 is a line of
text, `PROXY TCP4 192.0.2.1 192.0.2.9 56324 443`. Version 2 is binary: a signature of 12 bytes that begins
neither HTTP nor TLS, then version and command, family, length, addresses, TLVs (`lb.core.proxy_tlvs`).

Bytes that cannot become a header are refused as soon as they have come, so no timeout is needed to find out
what the first byte has shown. Only TLVs are judged later, when the header is whole: its checksum covers them.

Pure: bytes in, a header out. Who may send a header, and what becomes of it, is decided elsewhere.
"""

import re
import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, AddressFamily, inet_ntop, inet_pton

from lb.core import proxy_tlvs
from lb.core.client_address import UNIX
from lb.core.proxy_tlvs import NOOP, Tlv

LONGEST_LINE = 107
"""Bytes of the longest line of version 1, with its end (section 2.1)."""
LONGEST_BLOCK = 4096
"""Bytes of the longest header of version 2; nginx takes as many. Senders fill a few hundred."""
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LINE_START = b"PROXY "
LINE_FAMILIES = {b"TCP4": AF_INET, b"TCP6": AF_INET6}
UNKNOWN = b"UNKNOWN"
PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
PLAIN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")
"""What stands behind UNKNOWN means nothing, but it is text."""
LOCAL, PROXY = 0x20, 0x21
"""Version 2 with either command."""
UNSPECIFIED = 0x00
ADDRESS_BYTES = {UNSPECIFIED: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""How many bytes the addresses take. IPv4, IPv6 or Unix is the first digit, STREAM or DGRAM the second."""
IN_INET, IN_UNIX = 1, 3
MAPPED = bytes(10) + b"\xff\xff"
"""How IPv4 begins in IPv6."""
FIXED = struct.Struct(">BBH")
"""Version and command, family and transport, and the length of what follows."""
FIXED_END = len(SIGNATURE) + FIXED.size
INET_BLOCK = struct.Struct(">4s4sHH")
INET6_BLOCK = struct.Struct(">16s16sHH")

ENDING_OF_BLOCK = SIGNATURE + b"\x21\x11\x00\xf0"
"""Fills up the fixed part of version 2 with what fits any beginning: 240 bytes are enough for each family."""
ENDINGS_OF_FIELD = (b"", b"0", b":", b"::", b"0.0", b"0.0.0", b"0.0.0.0", b".0", b".0.0", b".0.0.0")
"""One of these makes a whole address or port of any beginning of one."""
MISSING = {
    b"TCP4": {2: b" 0.0.0.0 0 0", 3: b" 0 0", 4: b" 0"},
    b"TCP6": {2: b" :: 0 0", 3: b" 0 0", 4: b" 0"},
}
"""The fields that follow in a line, by how many blanks it has got."""
REQUEST_BEGUN = re.compile(rb"\s*([A-Z]{1,32}(?:\Z| (?:\Z|[/*][!-~]*|https?:[!-~]*)))")
HELLO_BEGUN = b"\x16"
SHOWN_BYTES = 60


class Came(Enum):
    """What a connection began with in place of a header."""

    HTTP = "HTTP"
    TLS = "TLS"
    OTHER = "neither HTTP nor TLS"


class ProxyHeaderRefused(Exception):
    """The connection does not begin with a header that can be used; the message is a sentence for the log."""


class NoProxyHeader(ProxyHeaderRefused):
    """The connection does not begin with a header at all, and `came` says with what."""

    def __init__(self, data: bytes) -> None:
        self.came, shown = _recognised(data)
        super().__init__(f"no PROXY header came first, but {self.came.value}{shown}")


class BrokenProxyHeader(ProxyHeaderRefused):
    """It begins as a header, and breaks a rule of the protocol."""


class UnsupportedFamily(ProxyHeaderRefused):
    """It is a header for a kind of address or transport that the protocol does not know."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says. Each address is an IP address as the project writes it, or UNIX for a Unix socket.

    Where `is_local` is true it says nothing, and the connection's own addresses count: the balancer in front
    has opened the connection for itself (LOCAL, as haproxy's health checks do), or does not know for whom
    (UNKNOWN, as where its client is on a Unix socket). Then the addresses are None, the ports 0, and there
    are no TLVs.
    """

    source: str | None
    source_port: int
    destination: str | None
    destination_port: int
    is_local: bool = False
    tlvs: tuple[Tlv, ...] = ()


_SAYS_NOTHING = ProxyHeader(None, 0, None, 0, is_local=True)


def read_proxy_header(data: bytes) -> tuple[ProxyHeader, int] | None:
    """The header that `data` begins with, and its length in bytes; None while it is not whole.

    Raises ProxyHeaderRefused where `data` cannot become one. None is returned for fewer than LONGEST_BLOCK
    bytes only, so that is the most that a caller has to keep.
    """
    if data.startswith(LINE_START):
        return _read_line(data)
    if data.startswith(SIGNATURE):
        return _read_block(data)
    if LINE_START.startswith(data) or SIGNATURE.startswith(data):
        return None
    raise NoProxyHeader(data)


def _recognised(data: bytes) -> tuple[Came, str]:
    """What this is, and as much of it as may be shown: of a request no query, which may hold secrets."""
    if data.startswith(HELLO_BEGUN):
        return Came.TLS, ""
    if request := REQUEST_BEGUN.match(data):
        return Came.HTTP, f" ({request[1].partition(b'?')[0][:SHOWN_BYTES].decode()})"
    return Came.OTHER, f" ({data[:SHOWN_BYTES]!r})"


def _read_line(data: bytes) -> tuple[ProxyHeader, int] | None:
    end = data.find(b"\n", 0, LONGEST_LINE)
    if end >= 0:
        if data[end - 1] != ord("\r"):
            raise BrokenProxyHeader("the line of the PROXY header ends with LF alone")
        return _header_of(data[: end - 1]), end + 1
    if len(data) >= LONGEST_LINE:
        raise BrokenProxyHeader(f"the line of the PROXY header does not end within {LONGEST_LINE} bytes")
    if data.endswith(b"\r"):
        _header_of(data[:-1])
    else:
        _refuse_line_begun(data)
    return None


def _header_of(line: bytes) -> ProxyHeader:
    """What a whole line says, which is given without its end."""
    if len(line) > LONGEST_LINE - 2:
        raise BrokenProxyHeader(f"the line of the PROXY header is longer than {LONGEST_LINE} bytes")
    _, name, *fields = line.split(b" ")
    family = LINE_FAMILIES.get(name)
    if family is None:
        return _unknown(line, name)
    if len(fields) != 4:
        raise BrokenProxyHeader("the PROXY header is not `PROXY TCP4 source destination port port`")
    source, destination, source_port, destination_port = fields
    return ProxyHeader(
        _address(family, source), _port(source_port), _address(family, destination), _port(destination_port)
    )


def _unknown(line: bytes, name: bytes) -> ProxyHeader:
    if name != UNKNOWN:
        raise UnsupportedFamily(f"the PROXY header is for {name!r}, which is none of TCP4, TCP6 and UNKNOWN")
    if PLAIN.fullmatch(line) is None:
        raise BrokenProxyHeader("the line of the PROXY header has other bytes than text")
    return _SAYS_NOTHING


def _refuse_line_begun(data: bytes) -> None:
    """Raise unless an ending makes a whole line of this beginning."""
    name, blanks = data.split(b" ", 2)[1], data.count(b" ")
    if blanks == 1:
        if not any(known.startswith(name) for known in (*LINE_FAMILIES, UNKNOWN)):
            _unknown(data, name)
        return
    missing = MISSING.get(name, {}).get(blanks, b"")
    refusals = []
    for ending in ENDINGS_OF_FIELD:
        try:
            _header_of(data + ending + missing)
        except ProxyHeaderRefused as exc:
            refusals.append(exc)
        else:
            return
    raise refusals[0]


def _address(family: AddressFamily, field: bytes) -> str:
    """The address. `inet_pton` judges its spelling: no zeros in front in IPv4, no zone, nothing left out."""
    try:
        text = field.decode("ascii")
        packed = inet_pton(family, text)
    except (OSError, ValueError):
        kind = "IPv4" if family == AF_INET else "IPv6"
        raise BrokenProxyHeader(f"the PROXY header has {field!r} for an {kind} address") from None
    return text if len(packed) == 4 else _written(packed)


def _port(field: bytes) -> int:
    if PORT.fullmatch(field) and (port := int(field)) <= 65535:
        return port
    raise BrokenProxyHeader(f"the PROXY header has {field!r} for a port")


def _written(packed: bytes) -> str:
    """The one spelling of this address, as `lb.core.client_address.plain` has it."""
    if len(packed) == 4:
        return inet_ntop(AF_INET, packed)
    if packed.startswith(MAPPED):
        return inet_ntop(AF_INET, packed[12:])
    text = inet_ntop(AF_INET6, packed)
    return str(IPv6Address(packed)) if "." in text else text  # `::192.0.2.1` is `::c000:201` elsewhere


def _read_block(data: bytes) -> tuple[ProxyHeader, int] | None:
    command, family, length = FIXED.unpack_from(data + ENDING_OF_BLOCK[len(data) :], len(SIGNATURE))
    end = FIXED_END + length
    if command not in (LOCAL, PROXY):
        raise BrokenProxyHeader(f"the PROXY header has version and command 0x{command:02x}, not 0x20 or 0x21")
    if end > LONGEST_BLOCK:
        raise BrokenProxyHeader(f"the PROXY header has {end} bytes, and {LONGEST_BLOCK} are the most")
    if command == PROXY:
        _judge_family(family, length)
    if len(data) < end:
        return None
    # What stands behind has to be skipped where there are no addresses, and need not be TLVs (section 2.2).
    says = _SAYS_NOTHING if command == LOCAL or family == UNSPECIFIED else _block_says(data[:end], family)
    return says, end


def _judge_family(family: int, length: int) -> None:
    size = ADDRESS_BYTES.get(family)
    if size is None:
        raise UnsupportedFamily(f"the PROXY header has the unknown family and transport 0x{family:02x}")
    if length < size:
        raise BrokenProxyHeader(f"the PROXY header has {length} bytes for addresses that take {size}")


def _block_says(header: bytes, family: int) -> ProxyHeader:
    """What this whole header of version 2 says."""
    at = FIXED_END + ADDRESS_BYTES[family]
    tlvs = _tlvs(header, at) if at < len(header) else ()
    if family >> 4 == IN_UNIX:
        return ProxyHeader(UNIX, 0, UNIX, 0, tlvs=tlvs)
    block = INET_BLOCK if family >> 4 == IN_INET else INET6_BLOCK
    source, destination, source_port, destination_port = block.unpack_from(header, FIXED_END)
    return ProxyHeader(_written(source), source_port, _written(destination), destination_port, tlvs=tlvs)


def _tlvs(header: bytes, at: int) -> tuple[Tlv, ...]:
    """The TLVs from `at` on without the padding."""
    tlvs = proxy_tlvs.split(header, at, len(header))
    if tlvs is None:
        raise BrokenProxyHeader("the last TLV of the PROXY header is not whole")
    if not proxy_tlvs.checksum_fits(header, at, tlvs):
        raise BrokenProxyHeader("the checksum of the PROXY header is wrong")
    return tuple([tlv for tlv in tlvs if tlv[0] != NOOP])
