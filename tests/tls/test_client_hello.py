"""The ClientHello: whole hellos of real clients, cut anywhere, damaged anyhow, and what is none."""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.tls.client_hello import (
    GREASE,
    LONGEST_HELLO,
    METHODS,
    MOST_RECORDS,
    BadServerName,
    BrokenHello,
    ClientHello,
    HelloRefused,
    NotTls,
    PlainHttp,
    read_client_hello,
)
from lb.tls.contexts import server_context, show
from tests.kit.certificates import certificate

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NAMES = (None, "a.test", "WWW.Example.COM", "x" * 63 + ".test")
PROTOCOLS: tuple[tuple[str, ...], ...] = ((), ("h2", "http/1.1"), ("acme-tls/1",))
VERSIONS = ((TLS_1_2, TLS_1_2), (TLS_1_2, TLS_1_3), (TLS_1_3, TLS_1_3))


@cache
def hello(
    name: str | None = "a.test",
    protocols: Sequence[str] = ("h2", "http/1.1"),
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (TLS_1_2, TLS_1_3),
) -> bytes:
    """The first bytes of a client of Python's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version, context.maximum_version = versions
    if protocols:
        context.set_alpn_protocols(list(protocols))
    said = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


hellos = st.builds(hello, st.sampled_from(NAMES), st.sampled_from(PROTOCOLS), st.sampled_from(VERSIONS))


def prefixed(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return pack(">H", kind) + prefixed(2, data)


def name_extension(name: bytes, kind: int = 0) -> bytes:
    return extension(0, prefixed(2, bytes([kind]) + prefixed(2, name)))


def numbers(*numbers: int) -> bytes:
    return b"".join(pack(">H", number) for number in numbers)


def body(extensions: bytes | None, ciphers: bytes = numbers(0x1301), session: bytes = b"") -> bytes:
    start = b"\x03\x03" + bytes(32) + prefixed(1, session) + prefixed(2, ciphers) + b"\x01\x00"
    return start if extensions is None else start + prefixed(2, extensions)


def record(data: bytes) -> bytes:
    return b"\x16\x03\x01" + prefixed(2, data)


def message(data: bytes) -> bytes:
    return b"\x01" + prefixed(3, data)


def built(*extensions: bytes) -> bytes:
    return record(message(body(b"".join(extensions))))


def in_records(data: bytes, *lengths: int) -> bytes:
    """The message of a record, cut into records of these lengths and a last one."""
    rest, records = data[5:], b""
    for length in lengths:
        records, rest = records + record(rest[:length]), rest[length:]
    return records + record(rest)


def read(data: bytes) -> ClientHello:
    found = read_client_hello(data)
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocols", PROTOCOLS)
def test_what_a_client_says(name: str | None, protocols: Sequence[str]) -> None:
    found = read(hello(name, protocols))
    assert found.server_name == (name or "").lower()
    assert found.protocols == tuple(each.encode() for each in protocols)
    assert found.versions == (0x0304, 0x0303)
    assert found.ciphers[0] == 0x1302


def test_a_client_of_an_older_version_offers_that_one() -> None:
    assert read(hello(versions=(TLS_1_2, TLS_1_2))).versions == (0x0303,)
    assert read(hello(versions=(TLS_1_3, TLS_1_3))).versions == (0x0304,)
    assert read(record(message(body(None)))) == ClientHello("", (), (0x0303,), numbers(0x1301))


@given(hellos, st.data())
def test_a_hello_is_whole_or_none(data: bytes, draw: st.DataObject) -> None:
    cut = draw.draw(st.integers(0, len(data) - 1))
    assert read_client_hello(data[:cut]) is None


@given(hellos, st.lists(st.integers(1, 40), max_size=MOST_RECORDS - 1), st.binary(max_size=30))
def test_records_make_no_difference(data: bytes, lengths: list[int], behind: bytes) -> None:
    while sum(lengths) >= len(data) - 5:
        lengths = lengths[1:]
    split = in_records(data, *lengths)
    assert read(split + behind) == read(data)
    for cut in range(len(split)):
        assert read_client_hello(split[:cut]) is None


@given(st.binary(max_size=400))
def test_no_other_error_from_any_bytes(data: bytes) -> None:
    for start in (b"", b"\x16", b"\x16\x03\x01", record(message(body(b"")))[:9]):
        with suppress(HelloRefused):
            read_client_hello(start + data)


@given(hellos, st.data())
def test_no_other_error_from_a_damaged_hello(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with suppress(HelloRefused):
        read_client_hello(bytes(damaged))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (b"a.test", "a.test"),
        (b"A.Test.", "a.test"),
        (b"localhost", "localhost"),
        (b"_dmarc.a-b.test", "_dmarc.a-b.test"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"10.0.0.1", "10.0.0.1"),
        (b".".join([b"a" * 63] * 4), ".".join(["a" * 63] * 4)),
    ],
)
def test_a_server_name(said: bytes, name: str) -> None:
    assert read(built(name_extension(said))).server_name == name


@pytest.mark.parametrize(
    "said",
    [
        b"", b".", b"..", b"a..b", b".a", b"a.test..", b"-a", b"a-", b"*.a.test", b"a b", b"a\0b", b"a/b",
        b"a:443", b"[::1]", b"fe80::1", b"\xc3\xa9.test", b"a\n", b"a" * 64,
        b".".join([b"a" * 63] * 4) + b".b",
    ],
)  # fmt: skip
def test_a_server_name_that_is_none(said: bytes) -> None:
    with pytest.raises(BadServerName, match="is no DNS name"):
        read_client_hello(built(name_extension(said)))


@pytest.mark.parametrize(
    "extensions",
    [
        (name_extension(b"a"), name_extension(b"b")),
        (name_extension(b"a", kind=1),),
        (extension(0, prefixed(2, b"\0" + prefixed(2, b"a") + b"\0" + prefixed(2, b"b"))),),
        (extension(0, b""),),
        (extension(0, b"\0\0"),),
        (extension(0, prefixed(2, b"\0\0\2a")),),
        (extension(16, b""),),
        (extension(16, b"\0\0"),),
        (extension(16, prefixed(2, b"\0")),),
        (extension(16, prefixed(2, b"\3h2")),),
        (extension(16, prefixed(2, b"\2h2") + b"x"),),
        (extension(43, b""),),
        (extension(43, b"\2\3"),),
        (extension(43, b"\3\3\3\3"),),
        (extension(43, b"\2\3\3"), extension(43, b"\2\3\4")),
        (b"\0\0\0",),
        (pack(">HH", 5, 9) + b"x",),
    ],
)
def test_what_is_ambiguous_or_broken_is_refused(extensions: tuple[bytes, ...]) -> None:
    with pytest.raises(BrokenHello):
        read_client_hello(built(*extensions))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (record(message(body(b"") + b"x")), "extensions .* do not end"),
        (record(message(b"")), "middle"),
        (record(message(body(None)[:-1])), "middle"),
        (record(message(body(None, ciphers=b"\x13"))), "odd length"),
        (record(b"\x02" + prefixed(3, body(None))), "message 2"),
        (record(b"\x01" + (LONGEST_HELLO + 1).to_bytes(3, "big")), "16385 bytes"),
        (b"\x16\x03\x01\x00\x00", "0 bytes"),
        (b"\x16\x03\x01\x40\x01", "16385 bytes"),
        (record(b"\x01\x00") + b"\x15\x03\x01\x00\x02\x02\x28", "kind 21"),
        (record(b"\x01\x00") + b"\x16\x02\x01\x00\x01\x00", "kind 22"),
        (record(b"\x01") * (MOST_RECORDS + 1), "more than 64 records|bytes"),
        (b"".join(record(b"%c" % byte) for byte in message(body(b"")))[: 6 * (MOST_RECORDS + 1)], None),
    ],
)
def test_a_broken_hello(data: bytes, why: str | None) -> None:
    if why is None:
        assert read_client_hello(data) is not None
        return
    with pytest.raises(BrokenHello, match=why):
        read_client_hello(data)


def test_records_of_one_byte_are_not_read_for_ever() -> None:
    records = [record(bytes([byte])) for byte in message(body(extension(21, bytes(200))))]
    assert read_client_hello(b"".join(records[: MOST_RECORDS - 1])) is None
    with pytest.raises(BrokenHello, match="more than 64 records"):
        read_client_hello(b"".join(records))


def test_a_long_hello_is_read_up_to_its_bound() -> None:
    longest = message(body(extension(21, bytes(LONGEST_HELLO - len(body(b"")) - 4))))
    assert len(longest) == 4 + LONGEST_HELLO
    assert read(record(longest[:9000]) + record(longest[9000:])).ciphers == (0x1301,)


@pytest.mark.parametrize("method", METHODS)
def test_plain_http(method: bytes) -> None:
    for cut in range(len(method)):
        assert read_client_hello(method[:cut]) is None
    with pytest.raises(PlainHttp, match="plain HTTP"):
        read_client_hello(method + b"/ HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "data",
    [
        *(b"\0", b"\x16\x02", b"\x15\x03\x01", b"\x80\x2e\x01\x03\x01"),
        *(b"SSH-2.0-", b"get / ", b"GETS", b"PROXY TCP4 "),
    ],
)
def test_what_is_no_tls(data: bytes) -> None:
    with pytest.raises(NotTls, match="no TLS") as caught:
        read_client_hello(data)
    assert not isinstance(caught.value, PlainHttp)


def test_grease_is_left_out() -> None:
    grease = sorted(GREASE)
    assert grease[0] == 0x0A0A
    assert grease[-1] == 0xFAFA
    assert len(grease) == 16
    extensions = (
        extension(grease[3], b""),
        extension(16, prefixed(2, prefixed(1, numbers(grease[5])) + b"\2h2")),
        extension(43, prefixed(1, numbers(grease[7], 0x0304, 0x0303))),
    )
    data = record(message(body(b"".join(extensions), ciphers=numbers(grease[9], 0x1301, 0xC02B))))
    found = read(data)
    assert (found.protocols, found.versions) == ((b"h2",), (0x0304, 0x0303))
    assert found.ciphers == (0x1301, 0xC02B)


# -- OpenSSL reads the same bytes ----------------------------------------------------------------------------


@cache
def server() -> ssl.SSLContext:
    context = server_context(protocols=("h2", "http/1.1"))
    issued = certificate("a.test")
    show(context, (issued.chain + issued.key_pem).encode())
    return context


def asked_for(data: bytes) -> tuple[str | None, str | None] | None:
    """The name and the protocol that OpenSSL finds in a hello; None where it refuses it."""
    heard: list[str | None] = []
    context = server()
    context.sni_callback = lambda _connection, name, _context: heard.append(name)
    said = ssl.MemoryBIO()
    said.write(data)
    there = context.wrap_bio(said, ssl.MemoryBIO(), server_side=True)
    try:
        there.do_handshake()
    except ssl.SSLWantReadError:
        return (heard[-1] if heard else None), there.selected_alpn_protocol()
    except ssl.SSLError:
        return None
    raise AssertionError("a handshake needs more than a hello")


EXTENSIONS = [
    name_extension(b"a.test"),
    name_extension(b"B.Test."),
    name_extension(b"a.test", kind=1),
    name_extension(b""),
    extension(0, prefixed(2, b"\0" + prefixed(2, b"a.test") + b"\0" + prefixed(2, b"b.test"))),
    extension(0, prefixed(2, b"\0" + prefixed(2, b"a.test")) + b"x"),
    extension(16, prefixed(2, b"\2h2")),
    extension(16, prefixed(2, b"\x08http/1.1")),
    extension(16, prefixed(2, b"\2h2") + b"x"),
    extension(16, prefixed(2, b"\0\2h2")),
    extension(43, prefixed(1, numbers(0x0303))),
    extension(43, prefixed(1, numbers(0x0303)) + b"x"),
    extension(0x0A0A, b""),
]
OF_A_CLIENT = extension(10, prefixed(2, numbers(29, 23))) + extension(
    13, prefixed(2, numbers(0x0403, 0x0804))
)
"""What a client of TLS 1.2 has to say beside them: groups and signatures."""


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(EXTENSIONS), max_size=4))
def test_openssl_finds_the_same_name_and_protocol(extensions: list[bytes]) -> None:
    """The context is chosen by what we find: a name that OpenSSL alone finds may have another policy."""
    data = record(message(body(b"".join([*extensions, OF_A_CLIENT]), ciphers=numbers(0xC02B))))
    theirs = asked_for(data)
    try:
        ours = read(data)
    except HelloRefused:
        return
    if theirs is None:
        return
    name, protocol = theirs
    assert (name or "").lower().removesuffix(".") == ours.server_name
    offered = [each for each in (b"h2", b"http/1.1") if each in ours.protocols]
    assert protocol == (offered[0].decode() if offered else None)


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.integers(40, 400), st.integers(0, 127))
def test_openssl_finds_the_same_name_in_a_damaged_hello(name: str | None, place: int, byte: int) -> None:
    damaged = bytearray(hello(name))
    damaged[place % len(damaged)] = byte
    theirs = asked_for(bytes(damaged))
    if theirs is None:
        return
    with suppress(HelloRefused):
        assert (theirs[0] or "").lower().removesuffix(".") == read(bytes(damaged)).server_name


def test_openssl_takes_what_is_built_here() -> None:
    good = b"".join([EXTENSIONS[0], EXTENSIONS[6], EXTENSIONS[10], OF_A_CLIENT])
    data = record(message(body(good, ciphers=numbers(0xC02B))))
    assert asked_for(data) == ("a.test", "h2")
    split = in_records(data, 1, 1, 3, 20)
    assert asked_for(split) == ("a.test", "h2")
    assert read(split) == read(data)
