"""What a header of the PROXY protocol says, and what is none: whole, cut anywhere, mutated, invented."""

from contextlib import suppress
from ipaddress import IPv6Address
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.core.client_address import UNIX, plain
from lb.core.proxy_tlvs import ALPN, CRC32C, NOOP, checksum, joined
from lb.net.proxy_header import (
    ENDINGS_OF_FIELD,
    LONGEST_BLOCK,
    LONGEST_LINE,
    MISSING,
    SIGNATURE,
    BrokenProxyHeader,
    Came,
    NoProxyHeader,
    ProxyHeader,
    ProxyHeaderRefused,
    UnsupportedFamily,
    read_proxy_header,
)
from tests.kit.held import slowness
from tests.net.real_proxy_headers import REAL

LOCAL = ProxyHeader(None, 0, None, 0, is_local=True)
IPV4 = bytes((192, 0, 2, 1, 192, 0, 2, 9, 0xDC, 0x04, 0x01, 0xBB))
IPV6 = bytes(15) + b"\x01" + bytes(15) + b"\x02" + IPV4[8:]
IPV4_SAYS = ProxyHeader("192.0.2.1", 56324, "192.0.2.9", 443)
WIDEST = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
HEADERS = [bytes.fromhex(text) for text, _, _ in REAL.values()]
BEHIND = b"GET / HTTP/1.1\r\n\r\n"
WORST_SECONDS = 0.05


def block(rest: bytes = IPV4, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    size = len(rest) if length is None else length
    return SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + rest


def whole(data: bytes) -> ProxyHeader:
    """What this header says; it is whole, and nothing of what stands behind belongs to it."""
    header = read_proxy_header(data + BEHIND)
    assert header is not None
    assert header[1] == len(data)
    return header[0]


def refusal(data: bytes) -> str:
    with pytest.raises(ProxyHeaderRefused) as caught:
        read_proxy_header(data)
    return str(caught.value)


@pytest.mark.parametrize("name", REAL)
def test_real_headers_are_read(name: str) -> None:
    text, says, _ = REAL[name]
    assert whole(bytes.fromhex(text)) == says


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443", IPV4_SAYS),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", ProxyHeader("0.0.0.0", 0, "255.255.255.255", 65535)),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2", ProxyHeader("2001:db8::1", 1, "::1", 2)),
        (b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 :: 1 2", ProxyHeader("2001:db8::1", 1, "::", 2)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::FFFF:c000:209 1 2", ProxyHeader("192.0.2.1", 1, "192.0.2.9", 2)),
        (
            b"PROXY TCP6 " + WIDEST + b" " + WIDEST + b" 65535 65535",
            ProxyHeader(WIDEST.decode(), 65535, WIDEST.decode(), 65535),
        ),
        (b"PROXY UNKNOWN", LOCAL),
        (b"PROXY UNKNOWN ", LOCAL),
        (b"PROXY UNKNOWN " + WIDEST + b" " + WIDEST + b" 65535 65535", LOCAL),
        (b"PROXY UNKNOWN whatever comes here", LOCAL),
    ],
)
def test_a_line_is_read(line: bytes, says: ProxyHeader) -> None:
    assert whole(line + b"\r\n") == says


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.9 56324",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443 ",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443 1",
        b"PROXY TCP4  192.0.2.1 192.0.2.9 56324 443",
        b"PROXY TCP4\t192.0.2.1 192.0.2.9 56324 443",
        b"PROXY  TCP4 192.0.2.1 192.0.2.9 56324 443",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r",
        b"PROXY TCP4 192.0.2.1 192.0.2.9\r 56324 443",
        b"PROXY TCP4 192.0.2 192.0.2.9 1 2",
        b"PROXY TCP4 192.0.2.256 192.0.2.9 1 2",
        b"PROXY TCP4 192.0.02.1 192.0.2.9 1 2",
        b"PROXY TCP4 192.0.2.1. 192.0.2.9 1 2",
        b"PROXY TCP4 0xc0000201 192.0.2.9 1 2",
        b"PROXY TCP4 192.0.2.1\x00 192.0.2.9 1 2",
        b"PROXY TCP4 192.0.2.\xb9 192.0.2.9 1 2",
        b"PROXY TCP4 ::1 ::1 1 2",
        b"PROXY TCP4 a.test b.test 1 2",
        b"PROXY TCP6 192.0.2.1 192.0.2.9 1 2",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2",
        b"PROXY TCP6 [::1] ::1 1 2",
        b"PROXY TCP6 ::1::2 ::1 1 2",
        b"PROXY TCP6 12345::1 ::1 1 2",
        b"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 65536 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 01 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 00 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 -1 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 +1 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1_0 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 \xb2 2",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 ",
        b"PROXY UNKNOWN\x00",
        b"PROXY UNKNOWN \x1b[2J",
        b"PROXY UNKNOWN " + b"x" * 92,
    ],
)
def test_a_line_that_breaks_a_rule_is_refused(line: bytes) -> None:
    with pytest.raises(ProxyHeaderRefused):
        read_proxy_header(line + b"\r\n" + BEHIND)


@pytest.mark.parametrize("name", [b"TCP", b"TCP5", b"UDP4", b"tcp4", b"UNKNOWNX", b"UNIX", b""])
def test_another_family_in_a_line_is_named(name: bytes) -> None:
    with pytest.raises(UnsupportedFamily, match="none of TCP4, TCP6 and UNKNOWN"):
        read_proxy_header(b"PROXY " + name + b" 192.0.2.1 192.0.2.9 1 2\r\n")


def test_the_prefix_is_in_capitals() -> None:
    with pytest.raises(NoProxyHeader):
        read_proxy_header(b"proxy TCP4 192.0.2.1 192.0.2.9 1 2\r\n")


def test_a_line_ends_with_both_bytes() -> None:
    assert "LF alone" in refusal(b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\n")
    assert "LF alone" in refusal(b"PROXY \n")


def test_a_line_has_107_bytes_at_most() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16)
    assert whole(longest + b"\r\n") == LOCAL
    assert read_proxy_header(longest + b"\r") is None
    assert "107 bytes" in refusal(longest + b"x")
    assert "107 bytes" in refusal(longest + b"x\r\n")
    assert "107 bytes" in refusal(longest + b"\rx")


@pytest.mark.parametrize(
    ("beginning", "last"),
    [
        (b"PROXY ", b"S"),
        (b"PROXY TCP", b"5"),
        (b"PROXY TCP4 ", b" "),
        (b"PROXY TCP4 1", b":"),
        (b"PROXY TCP4 25", b"6"),
        (b"PROXY TCP4 0", b"1"),
        (b"PROXY TCP4 192.0.2.1", b"."),
        (b"PROXY TCP4 192.0.2", b" "),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 6553", b"6"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 0", b"0"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2", b" "),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 1", b"\r"),
        (b"PROXY TCP6 ::", b":"),
        (b"PROXY TCP6 :", b"1"),
        (b"PROXY TCP6 ffff", b"f"),
        (b"PROXY TCP6 1::2:", b":"),
        (b"PROXY TCP6 1:2:3:4:5:6:7:8", b":"),
        (b"PROXY TCP6 ::192", b"x"),
        (b"PROXY UNKNOWN", b"S"),
        (b"PROXY UNKNOWN ", b"\t"),
        (b"PROX", b"X"),
        (b"\r\n\r\n", b"G"),
        (SIGNATURE, b"\x31"),
        (SIGNATURE, b"\x22"),
        (SIGNATURE + b"\x21", b"\x41"),
        (SIGNATURE + b"\x21\x11", b"\x10"),
        (SIGNATURE + b"\x21\x11\x00", b"\x0b"),
    ],
)
def test_the_first_byte_that_cannot_belong_to_a_header_is_refused(beginning: bytes, last: bytes) -> None:
    assert read_proxy_header(beginning) is None
    refusal(beginning + last)


@pytest.mark.parametrize("data", [*HEADERS, b"PROXY UNKNOWN\r\n", block(b"", 0x20, 0x00)])
def test_a_header_that_is_cut_is_waited_for(data: bytes) -> None:
    for length in range(len(data)):
        assert read_proxy_header(data[:length]) is None


ADDRESSES_4 = st.ip_addresses(v=4).map(str)
ADDRESSES_6 = st.one_of(
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda each: each.exploded.upper()),
    st.ip_addresses(v=4).map(lambda each: f"::ffff:{each}"),
    st.ip_addresses(v=4).map(lambda each: f"64:ff9b:0:0:0:0:{each}"),
)
PORTS = st.integers(0, 65535)
LINES = st.one_of(
    st.tuples(st.just("TCP4"), ADDRESSES_4, ADDRESSES_4, PORTS, PORTS),
    st.tuples(st.just("TCP6"), ADDRESSES_6, ADDRESSES_6, PORTS, PORTS),
).map(lambda fields: "PROXY " + " ".join(map(str, fields)) + "\r\n")


@settings(deadline=None)
@given(LINES)
def test_any_line_is_read_and_waited_for_wherever_it_is_cut(line: str) -> None:
    _, _, source, destination, source_port, destination_port = line.split()
    assert whole(line.encode()) == ProxyHeader(
        plain(source), int(source_port), plain(destination), int(destination_port)
    )
    for length in range(len(line)):
        assert read_proxy_header(line[:length].encode()) is None


@settings(deadline=None)
@given(LINES, st.data())
def test_what_is_waited_for_can_still_become_a_header(line: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(line) - 2))
    begun = line[:at].encode() + data.draw(st.sampled_from([b"0", b"1", b"f", b":", b".", b" ", b"\r", b"T"]))
    try:
        waits = read_proxy_header(begun) is None
    except ProxyHeaderRefused:
        return
    assert waits
    assert any(becomes_one(begun + ending) for ending in endings(begun))


def endings(begun: bytes) -> list[bytes]:
    """What may follow a line that begins so: one of these at least makes it whole."""
    if begun.endswith(b"\r"):
        return [b"\n"]
    for name in ("PROXY TCP4", "PROXY TCP6", "PROXY UNKNOWN"):
        if name.encode().startswith(begun):
            rest = name.encode()[len(begun) :]
            return [rest + tail for tail in (b" 0.0.0.0 0.0.0.0 0 0\r\n", b" :: :: 0 0\r\n", b"\r\n")]
    missing = MISSING[begun[6:10]].get(begun.count(b" "), b"")
    return [ending + missing + b"\r\n" for ending in ENDINGS_OF_FIELD]


def becomes_one(data: bytes) -> bool:
    with suppress(ProxyHeaderRefused):
        return read_proxy_header(data) is not None
    return False


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (block(), IPV4_SAYS),
        (block(family=0x12), IPV4_SAYS),
        (block(IPV6, family=0x21), ProxyHeader("::1", 56324, "::2", 443)),
        (block(bytes(32) + IPV4[8:], family=0x22), ProxyHeader("::", 56324, "::", 443)),
        (block(b"/run/a.sock".ljust(108, b"\0") + bytes(108), family=0x31), ProxyHeader(UNIX, 0, UNIX, 0)),
        (block(bytes(216), family=0x32), ProxyHeader(UNIX, 0, UNIX, 0)),
        (block(b"", command=0x20, family=0x00), LOCAL),
        (block(b"", command=0x21, family=0x00), LOCAL),
        (block(b"no TLV", command=0x21, family=0x00), LOCAL),
        (block(command=0x20), LOCAL),
        (block(b"\xff" * 5, command=0x20, family=0xFF), LOCAL),
    ],
)
def test_a_block_is_read(data: bytes, says: ProxyHeader) -> None:
    assert whole(data) == says


@pytest.mark.parametrize("family", sorted(set(range(256)) - {0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32}))
def test_another_family_in_a_block_is_named(family: int) -> None:
    with pytest.raises(UnsupportedFamily, match=f"0x{family:02x}"):
        read_proxy_header(block(bytes(216), family=family))


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (block(command=0x11), "0x11"),
        (block(command=0x22), "0x22"),
        (block(IPV4[:-1]), "11 bytes for addresses that take 12"),
        (block(IPV4, family=0x21), "12 bytes for addresses that take 36"),
        (block(bytes(215), family=0x31), "215 bytes for addresses that take 216"),
        (block(length=LONGEST_BLOCK - 15), f"{LONGEST_BLOCK + 1} bytes, and {LONGEST_BLOCK} are the most"),
        (block(b"", 0x20, length=0xFFFF), f"{LONGEST_BLOCK} are the most"),
        (block(IPV4 + b"\x01"), "not whole"),
        (block(IPV4 + b"\x01\x00"), "not whole"),
        (block(IPV4 + b"\x01\x00\x03h2"), "not whole"),
        (block(IPV4 + joined([(ALPN, b"h2")]) + b"\x01\xff\xffh2"), "not whole"),
        (block(IPV4 + joined([(CRC32C, b"")])), "checksum"),
        (block(IPV4 + joined([(CRC32C, b"1234")])), "checksum"),
    ],
)
def test_a_block_that_breaks_a_rule_is_refused(data: bytes, named: str) -> None:
    with pytest.raises(BrokenProxyHeader, match=named):
        read_proxy_header(data)


def test_the_longest_block_is_taken() -> None:
    data = block(IPV4 + joined([(ALPN, bytes(LONGEST_BLOCK - 31))]))
    assert len(data) == LONGEST_BLOCK
    assert whole(data).tlvs == ((ALPN, bytes(LONGEST_BLOCK - 31)),)
    assert read_proxy_header(data[:-1]) is None


def test_padding_is_left_out_and_the_order_is_kept() -> None:
    data = block(IPV4 + joined([(NOOP, b"\0"), (0xE7, b"b"), (NOOP, b""), (ALPN, b"h2"), (ALPN, b"")]))
    assert whole(data).tlvs == ((0xE7, b"b"), (ALPN, b"h2"), (ALPN, b""))


@pytest.mark.parametrize("name", [name for name in REAL if CRC32C in dict(REAL[name][1].tlvs)])
def test_a_checksum_holds_every_bit(name: str) -> None:
    data = bytes.fromhex(REAL[name][0])
    type_of_checksum = data.index(CRC32C, 28)
    for bit in range(16 * 8, len(data) * 8):
        if bit // 8 != type_of_checksum:  # without which there is no checksum
            broken = bytearray(data)
            broken[bit // 8] ^= 1 << bit % 8
            refusal(bytes(broken))


def test_two_checksums_are_refused() -> None:
    tlvs = [(CRC32C, bytes(4)), (CRC32C, bytes(4))]
    right = checksum(block(IPV4 + joined(tlvs))).to_bytes(4, "big")
    with pytest.raises(BrokenProxyHeader, match="checksum"):
        read_proxy_header(block(IPV4 + joined([(CRC32C, right), (CRC32C, bytes(4))])))


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(v=6), st.integers(0, 2**48).map(IPv6Address)))
def test_an_address_is_written_as_everywhere(address: IPv6Address) -> None:
    assert whole(block(address.packed * 2 + IPV4[8:], family=0x21)).source == plain(str(address))


@pytest.mark.parametrize(
    ("data", "came", "shown"),
    [
        (b"GET /healthz?token=secret HTTP/1.1\r\nHost: a\r\n\r\n", Came.HTTP, "HTTP (GET /healthz)"),
        (b"POST / HTTP/1.1\r\n", Came.HTTP, "HTTP (POST /)"),
        (b"PUT http://a.test/ HTTP/1.1\r\n", Came.HTTP, "HTTP (PUT http://a.test/)"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Came.HTTP, "HTTP (PRI *)"),
        (b"\r\n\r\nHEAD / HTTP/1.0\r\n\r\n", Came.HTTP, "HTTP (HEAD /)"),
        (b"G", Came.HTTP, "HTTP (G)"),
        (b"\x16\x03\x01\x02\x00\x01", Came.TLS, "but TLS"),
        (b"\x16", Came.TLS, "but TLS"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Came.OTHER, "neither HTTP nor TLS (b'SSH-2.0-OpenSSH_9.9"),
        (b"EHLO a.test\r\n", Came.OTHER, "neither HTTP nor TLS"),
        (b"\x00" * 1000, Came.OTHER, "neither HTTP nor TLS"),
        (b"PROXYING / HTTP/1.1\r\n", Came.HTTP, "HTTP (PROXYING /)"),
    ],
)
def test_what_came_in_place_of_a_header_is_named(data: bytes, came: Came, shown: str) -> None:
    with pytest.raises(NoProxyHeader, match="no PROXY header came first") as caught:
        read_proxy_header(data)
    assert caught.value.came is came
    assert shown in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 350


BEGINNINGS = st.sampled_from([b"", b"PROXY TCP4 ", b"PROXY TCP6 1:", SIGNATURE, SIGNATURE + b"\x21\x11\x00"])


@settings(deadline=None, max_examples=200)
@given(BEGINNINGS, st.binary(max_size=300))
def test_any_bytes_are_read_or_waited_for_or_refused_by_name(beginning: bytes, rest: bytes) -> None:
    with suppress(ProxyHeaderRefused):
        read_proxy_header(beginning + rest)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(HEADERS), st.data())
def test_a_mutated_header_has_the_same_verdict_however_it_comes(header: bytes, data: st.DataObject) -> None:
    mutated = bytearray(header)
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    assert piecewise(bytes(mutated)) == at_once(bytes(mutated))


def at_once(data: bytes) -> object:
    try:
        return read_proxy_header(data)
    except ProxyHeaderRefused:
        return ProxyHeaderRefused


def piecewise(data: bytes) -> object:
    """The first verdict on these bytes, which come one by one; None if there is none."""
    for length in range(len(data) + 1):
        if (verdict := at_once(data[:length])) is not None:
            return verdict
    return None


@pytest.mark.alone
@pytest.mark.parametrize(
    "data",
    [
        block(IPV4 + joined([(NOOP, b"")] * ((LONGEST_BLOCK - 28) // 3))),
        block(IPV4 + joined([(CRC32C, b"1234"), (NOOP, bytes(LONGEST_BLOCK - 38))])),
        block(IPV4 + joined([(CRC32C, b"1234")] * ((LONGEST_BLOCK - 28) // 7))),
        b"PROXY TCP6 " + b"1:" * 40,
        b"PROXY UNKNOWN" + b" " * 10_000,
        b"A" * 100_000,
        b"\r\n\r\n" + b"\r\n" * 50_000,
    ],
)
def test_no_bytes_take_long(data: bytes) -> None:
    times = []
    for _ in range(5):
        began = thread_time()
        with suppress(ProxyHeaderRefused):
            read_proxy_header(data)
        times.append(thread_time() - began)
    assert min(times) / slowness() < WORST_SECONDS
