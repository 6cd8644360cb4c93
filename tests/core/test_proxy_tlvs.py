"""TLVs are taken apart and put together, summed up, and told in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.proxy_tlvs import (
    ALPN,
    AUTHORITY,
    AWS,
    AZURE,
    CRC32C,
    GCP,
    LONGEST_VALUE,
    NETNS,
    NOOP,
    SSL,
    UNIQUE_ID,
    checksum,
    checksum_fits,
    joined,
    split,
    told,
)
from tests.net.real_proxy_headers import REAL

TLVS = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=8)
VERSION_1_3 = b"\x21\x00\x07TLSv1.3"
CUT = b"\x01\x00\x00\x00\x01" + VERSION_1_3[:-1]
WITHIN = joined([(0x22, b"me"), (0x23, b"AES"), (0x24, b"SHA256"), (0x25, b"EC256"), (9, b"x")])


@given(TLVS, st.binary(max_size=5), st.binary(max_size=5))
def test_what_is_joined_is_split(tlvs: list[tuple[int, bytes]], before: bytes, behind: bytes) -> None:
    data = before + joined(tlvs) + behind
    assert split(data, len(before), len(data) - len(behind)) == tlvs


@given(TLVS.filter(bool))
def test_what_is_cut_is_not_whole_or_fewer(tlvs: list[tuple[int, bytes]]) -> None:
    data = joined(tlvs)
    for end in range(len(data)):
        found = split(data, 0, end)
        assert found is None or found == tlvs[: len(found)]


def test_no_value_is_longer_than_its_length_can_say() -> None:
    assert len(joined([(ALPN, bytes(LONGEST_VALUE))])) == LONGEST_VALUE + 3
    with pytest.raises(ValueError, match="65536 bytes"):
        joined([(ALPN, bytes(LONGEST_VALUE + 1))])


@pytest.mark.parametrize(
    ("data", "is_right"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # this and the next three are of RFC 3720 section B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_the_checksum(data: bytes, is_right: int) -> None:
    assert checksum(data) == is_right


@pytest.mark.parametrize("before", [[], [(NOOP, b"\0\0")], [(ALPN, b"h2"), (NETNS, b"a")]])
def test_a_checksum_fits_wherever_it_stands(before: list[tuple[int, bytes]]) -> None:
    right = checksum(b"start" + joined([*before, (CRC32C, bytes(4)), (UNIQUE_ID, b"1")]))
    tlvs = [*before, (CRC32C, right.to_bytes(4, "big")), (UNIQUE_ID, b"1")]
    assert checksum_fits(b"start" + joined(tlvs), 5, tlvs)
    assert not checksum_fits(b"Start" + joined(tlvs), 5, tlvs)


@pytest.mark.parametrize("name", REAL)
def test_real_tlvs_are_told(name: str) -> None:
    _, header, words = REAL[name]
    assert told(header.tlvs) == words


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (ALPN, b"h2", {"alpn": "h2"}),
        (AUTHORITY, "bücher.test".encode(), {"authority": "bücher.test"}),
        (AUTHORITY, b"a\r\nb", {"authority": "610d0a62"}),
        (AUTHORITY, b"\xff", {"authority": "ff"}),
        (UNIQUE_ID, b"0000-01", {"unique_id": "0000-01"}),
        (UNIQUE_ID, b"\x00\x01", {"unique_id": "0001"}),
        (NETNS, b"blue", {"netns": "blue"}),
        (CRC32C, b"1234", {}),
        (NOOP, b"1234", {}),
        (AWS, b"\x01vpce-1", {"aws_vpc_endpoint": "vpce-1"}),
        (AWS, b"\x02vpce-1", {"0xea": "02767063652d31"}),
        (AWS, b"", {"0xea": ""}),
        (AZURE, b"\x01\x01\x00\x00\x00", {"azure_link": "1"}),
        (AZURE, b"\x01\x01\x00\x00", {"0xee": "01010000"}),
        (GCP, bytes(7) + b"\x05", {"gcp_connection": "5"}),
        (GCP, b"\x05", {"0xe0": "05"}),
        (0x21, b"TLSv1.3", {"0x21": "544c5376312e33"}),
        (0xE5, b"own", {"0xe5": "6f776e"}),
        (SSL, b"", {"0x20": ""}),
        (SSL, b"\x01\x00\x00\x00", {"0x20": "01000000"}),
        (SSL, bytes(5), {}),
        (SSL, b"\x01\x00\x00\x00\x01" + VERSION_1_3, {"tls_version": "TLSv1.3"}),
        (SSL, CUT, {"0x20": CUT.hex()}),
        (SSL, b"\x03\x00\x00\x00\x00", {"tls_certificate": "verified"}),
        (SSL, b"\x05\x00\x00\x00\x14", {"tls_certificate": "refused (20)"}),
        (
            SSL,
            b"\x01\x00\x00\x00\x00" + WITHIN,
            {
                "tls_client_name": "me",
                "tls_cipher": "AES",
                "tls_signature": "SHA256",
                "tls_key": "EC256",
                "0x20.0x09": "x",
            },
        ),
    ],
)
def test_a_tlv_is_told(kind: int, value: bytes, words: dict[str, str]) -> None:
    assert told([(kind, value)]) == words


def test_of_two_the_first_counts() -> None:
    assert told([(ALPN, b"h2"), (ALPN, b"http/1.1")]) == {"alpn": "h2"}


@given(TLVS)
def test_anything_is_told(tlvs: list[tuple[int, bytes]]) -> None:
    for name, text in told(tlvs).items():
        assert name.isprintable()
        assert text.isprintable()
