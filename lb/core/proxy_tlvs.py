"""What a header of the PROXY protocol tells beside the addresses: types, lengths and values (TLVs).

A TLV is one byte for its type, two for the length of its value, and the value. The types here are those of
haproxy's proxy-protocol.txt, section 2.2, and three that clouds have taken from the range for own use. The
balancer acts on none of them but the checksum. They are kept, so that a record can say what the balancer in
front knew of the connection.
"""

import struct
from collections.abc import Iterable, Iterator

ALPN = 0x01
AUTHORITY = 0x02
"""The host name that the client asked for: in TLS, the server name."""
CRC32C = 0x03
NOOP = 0x04
"""Padding."""
UNIQUE_ID = 0x05
SSL = 0x20
NETNS = 0x30
GCP = 0xE0
AWS = 0xEA
AZURE = 0xEE

IN_SSL = {
    0x21: "tls_version",
    0x22: "tls_client_name",
    0x23: "tls_cipher",
    0x24: "tls_signature",
    0x25: "tls_key",
}
"""The types within the value of SSL, by the names that `told` gives them."""
TEXTS = {ALPN: "alpn", AUTHORITY: "authority", UNIQUE_ID: "unique_id", NETNS: "netns"}
CLOUD_ID = b"\x01"
"""The first byte of a value of AWS or AZURE that is the id of an endpoint or of a link."""
PRESENTED = 0x02 | 0x04
"""The bits of SSL that say that the client has shown a certificate, on this connection or in its session."""
POLYNOMIAL = 0x82F63B78
"""That of CRC32C (RFC 9260 appendix A), its bits reversed."""
LONGEST_VALUE = 0xFFFF
_START = struct.Struct(">BH")
_SSL_START = struct.Struct(">BI")

Tlv = tuple[int, bytes]
"""Type and value."""


def split(data: bytes, at: int, end: int) -> list[Tlv] | None:
    """The TLVs from `at` to `end`; None where the last of them is not whole."""
    found = []
    while at + _START.size <= end:
        kind, length = _START.unpack_from(data, at)
        at += _START.size
        found.append((kind, data[at : at + length]))
        at += length
    return found if at == end else None


def joined(tlvs: Iterable[Tlv]) -> bytes:
    """The bytes of these TLVs. Raises ValueError where a value is longer than 65,535 bytes."""
    found = []
    for kind, value in tlvs:
        if len(value) > LONGEST_VALUE:
            raise ValueError(f"a TLV of {len(value)} bytes, and {LONGEST_VALUE} are the most")
        found.append(_START.pack(kind, len(value)) + value)
    return b"".join(found)


def _table() -> tuple[int, ...]:
    found = []
    for each in range(256):
        for _ in range(8):
            each = each >> 1 ^ (POLYNOMIAL if each & 1 else 0)
        found.append(each)
    return tuple(found)


_TABLE = _table()


def checksum(data: bytes) -> int:
    """CRC32C of these bytes; the standard library has other checksums only."""
    table, state = _TABLE, 0xFFFFFFFF
    for byte in data:
        state = table[(state ^ byte) & 0xFF] ^ state >> 8
    return state ^ 0xFFFFFFFF


def checksum_fits(header: bytes, at: int, tlvs: Iterable[Tlv]) -> bool:
    """Whether the checksum among these TLVs, which begin `at` this byte of the header, is that of the header.

    The four bytes of the checksum count as zeros. A header without a checksum fits. One with two is refused,
    because neither could be right but by design.
    """
    found = []
    for kind, value in tlvs:
        at += _START.size
        if kind == CRC32C:
            found.append((at, value))
        at += len(value)
    if not found:
        return True
    (at, value), *others = found
    if others or len(value) != 4:
        return False
    return checksum(header[:at] + bytes(4) + header[at + 4 :]) == int.from_bytes(value, "big")


def told(tlvs: Iterable[Tlv]) -> dict[str, str]:
    """What these TLVs say, by name, for a record. Never raises: what is not as it should be is told in hex.

    Of two TLVs of one type the first counts. An unknown type has its number for a name.
    """
    found: dict[str, str] = {}
    for kind, value in tlvs:
        for name, text in _said(kind, value):
            found.setdefault(name, text)
    return found


def _said(kind: int, value: bytes) -> Iterator[tuple[str, str]]:
    if kind == SSL and (within := _within_ssl(value)) is not None:
        yield from within
    elif kind in TEXTS:
        yield TEXTS[kind], _text(value)
    elif kind == AWS and value.startswith(CLOUD_ID):
        yield "aws_vpc_endpoint", _text(value[1:])
    elif kind == AZURE and value.startswith(CLOUD_ID) and len(value) == 5:
        yield "azure_link", str(int.from_bytes(value[1:], "little"))
    elif kind == GCP and len(value) == 8:
        yield "gcp_connection", str(int.from_bytes(value, "big"))
    elif kind not in (CRC32C, NOOP):
        yield f"0x{kind:02x}", value.hex()


def _within_ssl(value: bytes) -> list[tuple[str, str]] | None:
    """What the value of SSL says; None where it is broken."""
    within = split(value, _SSL_START.size, len(value))
    if within is None:
        return None
    client, verdict = _SSL_START.unpack_from(value)
    said = [(IN_SSL.get(kind, f"0x{SSL:02x}.0x{kind:02x}"), _text(text)) for kind, text in within]
    if client & PRESENTED:
        said.append(("tls_certificate", f"refused ({verdict})" if verdict else "verified"))
    return said


def _text(value: bytes) -> str:
    """The text of this value, in hex where it is none that can be written on one line."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()
