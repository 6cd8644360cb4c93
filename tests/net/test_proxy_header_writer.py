"""What a backend gets of the PROXY protocol is what haproxy would send, and is read back as it was meant."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.core.client_address import UNIX, plain
from lb.core.proxy_tlvs import ALPN, AUTHORITY, UNIQUE_ID
from lb.net.proxy_header import LONGEST_BLOCK, SIGNATURE, ProxyHeader, read_proxy_header
from lb.net.proxy_header_writer import Endpoint, proxy_header

CLIENT, US = ("192.0.2.1", 56324), ("192.0.2.9", 443)
CLIENT6, US6 = ("2001:db8::1", 56324), ("2001:db8::9", 443)
TLVS = ((AUTHORITY, b"a.test"), (UNIQUE_ID, b"0123"))
SOCKET = (UNIX, 0)
UNKNOWN: list[tuple[Endpoint | None, Endpoint | None]] = [
    (None, None),
    (None, US),
    (CLIENT, None),
    (SOCKET, US),
    (CLIENT, SOCKET),
]
Version = Literal[1, 2]
VERSIONS: tuple[Version, ...] = (1, 2)


@pytest.mark.parametrize(
    ("source", "destination", "line"),
    [
        (CLIENT, US, b"TCP4 192.0.2.1 192.0.2.9 56324 443"),
        (CLIENT6, US6, b"TCP6 2001:db8::1 2001:db8::9 56324 443"),
        (CLIENT, US6, b"TCP6 ::ffff:192.0.2.1 2001:db8::9 56324 443"),
        (CLIENT6, US, b"TCP6 2001:db8::1 ::ffff:192.0.2.9 56324 443"),
        (("fe80::1%eth0", 1), ("fe80::2", 2), b"TCP6 fe80::1 fe80::2 1 2"),
    ],
)
def test_version_1(source: Endpoint, destination: Endpoint, line: bytes) -> None:
    assert proxy_header(1, source, destination, TLVS) == b"PROXY " + line + b"\r\n"


@pytest.mark.parametrize(
    ("source", "destination", "rest"),
    [
        (CLIENT, US, "2111000c c0000201 c0000209 dc0401bb"),
        (CLIENT6, US6, f"21210024 20010db8{'00' * 11}01 20010db8{'00' * 11}09 dc0401bb"),
        (CLIENT, US6, f"21210024 {'00' * 10}ffffc0000201 20010db8{'00' * 11}09 dc0401bb"),
        (CLIENT6, US, f"21210024 20010db8{'00' * 11}01 {'00' * 10}ffffc0000209 dc0401bb"),
    ],
)
def test_version_2(source: Endpoint, destination: Endpoint, rest: str) -> None:
    assert proxy_header(2, source, destination) == SIGNATURE + bytes.fromhex(rest)


@pytest.mark.parametrize(("source", "destination"), UNKNOWN)
def test_an_unknown_address_is_not_told(source: Endpoint | None, destination: Endpoint | None) -> None:
    assert proxy_header(1, source, destination) == b"PROXY UNKNOWN\r\n"
    assert proxy_header(2, source, destination) == SIGNATURE + b"\x20\x00\x00\x00"
    with_id = proxy_header(2, source, destination, [(UNIQUE_ID, b"0")])
    assert with_id == SIGNATURE + b"\x20\x00\x00\x04\x05\x00\x010"


def test_tlvs_follow_the_addresses() -> None:
    header = proxy_header(2, CLIENT, US, TLVS)
    assert header.endswith(b"\x01\xbb\x02\x00\x06a.test\x05\x00\x040123")
    assert header[14:16] == b"\x00\x1c"


@pytest.mark.parametrize("size", [LONGEST_BLOCK - 30, 65_536])
def test_a_header_that_we_would_refuse_is_not_sent(size: int) -> None:
    with pytest.raises(ValueError, match="are the most"):
        proxy_header(2, CLIENT, US, [(ALPN, bytes(size))])
    assert len(proxy_header(2, CLIENT, US, [(ALPN, bytes(LONGEST_BLOCK - 31))])) == LONGEST_BLOCK


ENDPOINTS = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))
TYPES = st.sampled_from([ALPN, AUTHORITY, UNIQUE_ID, 0xE5])
SENT_TLVS = st.lists(st.tuples(TYPES, st.binary(max_size=128)), max_size=5)


@settings(deadline=None)
@given(st.sampled_from(VERSIONS), ENDPOINTS, ENDPOINTS, SENT_TLVS)
def test_what_is_written_is_read_back_whole_and_waited_for_when_cut(
    version: Version, source: Endpoint, destination: Endpoint, tlvs: list[tuple[int, bytes]]
) -> None:
    header = proxy_header(version, source, destination, tlvs)
    says = ProxyHeader(
        plain(source[0]),
        source[1],
        plain(destination[0]),
        destination[1],
        tlvs=tuple(tlvs) if version == 2 else (),
    )
    assert read_proxy_header(header + b"GET") == (says, len(header))
    for length in range(len(header)):
        assert read_proxy_header(header[:length]) is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("source", "destination"), UNKNOWN)
def test_a_header_without_addresses_is_read_back(
    version: Version, source: Endpoint | None, destination: Endpoint | None
) -> None:
    header = proxy_header(version, source, destination, TLVS)
    assert read_proxy_header(header) == (ProxyHeader(None, 0, None, 0, is_local=True), len(header))
