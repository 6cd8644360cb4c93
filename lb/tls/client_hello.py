"""The ClientHello: what a client says of itself before anything is decided (RFC 8446 section 4.1.2).

It is read before there is an SSL object, since that takes verify mode and versions from its context when it
is made: a context that is exchanged later lets clients without a certificate in. OpenSSL reads the same bytes
again. So what both look at must be unambiguous here: an extension that stands there twice, or a list of two
server names, is refused as OpenSSL refuses it.

The hello may be split over several records. Reading starts anew with each call, so the number of records is
bounded too: otherwise records of one byte would make each byte dearer than the one before.
"""

import re
from struct import Struct, error, unpack_from

import msgspec

LONGEST_HELLO = 16 * 1024
"""Hellos have 200 to 2,000 bytes; a session ticket that holds a client's certificate makes them longer."""
MOST_RECORDS = 64
LONGEST_RECORD = 1 << 14
LONGEST_NAME = 255
HANDSHAKE, CLIENT_HELLO, MAJOR = 22, 1, 3
SESSION_ID = 34
"""Where the session id begins: behind the version and the random bytes."""
SERVER_NAME, PROTOCOLS, VERSIONS = 0, 16, 43
WANTED = frozenset((SERVER_NAME, PROTOCOLS, VERSIONS))
GREASE = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Numbers that mean nothing, so that servers learn to skip what they do not know: RFC 8701."""
OURS = frozenset((b"http/1.1", b"http/1.0"))
"""Protocols that we speak."""
GREASE_PROTOCOLS = frozenset(number.to_bytes(2, "big") for number in GREASE)
LABEL = rb"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
DNS_NAME = re.compile(rb"%b(?:\.%b)*" % (LABEL, LABEL))
METHODS: tuple[bytes, ...] = (
    *(b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "),
    *(b"PROPFIND ", b"PRI * HTTP/2"),
)
RECORD = Struct(">BBBH")
RECORD_AND_MESSAGE = Struct(">BBBHI")
"""The head of a record, and that of the message in it: a byte for its kind, three for its length."""
TWO_NUMBERS = Struct(">HH")
NUMBER = Struct(">H")


class HelloRefused(Exception):
    """The first bytes of a connection are no ClientHello that could be answered."""


class NotTls(HelloRefused):
    """The first bytes are no TLS."""


class PlainHttp(NotTls):
    """The first bytes are a plain HTTP request."""


class BrokenHello(HelloRefused):
    """It began as TLS, and breaks the rules of a ClientHello."""


class BadServerName(BrokenHello):
    """The server name that the client asks for is no DNS name."""


class NoCommonProtocol(HelloRefused):
    """The client names the protocols that it would speak over TLS, and none is ours: RFC 7301 section 3.2."""


class ClientHello(msgspec.Struct, frozen=True):
    """What a client offers, in its order of preference.

    `server_name` is in lower case and without a final dot, "" where the client names none. `versions` are the
    numbers of TLS (0x0304 is 1.3); a client that lists none offers one, its newest. `suites` are the numbers
    of cipher suites as they stand in the hello. Meaningless numbers (GREASE) are left out elsewhere.
    """

    server_name: str
    protocols: tuple[bytes, ...]
    versions: tuple[int, ...]
    suites: bytes

    @property
    def ciphers(self) -> tuple[int, ...]:
        """The numbers of the cipher suites. They are asked for when a handshake is refused."""
        return _numbers(self.suites)


def read_client_hello(data: bytes) -> ClientHello | None:
    """The hello at the start of a connection's bytes; None while it is not whole.

    HelloRefused says what is wrong, as soon as it can be known: where this returns None, there are fewer than
    LONGEST_HELLO bytes and the heads of MOST_RECORDS records. What follows the hello is not looked at.
    """
    body = _message(data)
    if body is None:
        return None
    try:
        return _read(body)
    except (IndexError, error) as exc:
        raise BrokenHello("the ClientHello ends in the middle of a field") from exc


def check_protocols(hello: ClientHello) -> None:
    """NoCommonProtocol where a client would take what we say for another protocol, or would not speak ours.

    OpenSSL would go on without a protocol. A page that makes a browser send its request to a server of
    another kind, whose certificate is good for us too, relies on just that (alpaca-attack.com).
    """
    if hello.protocols and OURS.isdisjoint(hello.protocols):
        names = ", ".join(each.decode("ascii", "backslashreplace") for each in hello.protocols[:5])
        raise NoCommonProtocol(names)


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message. Nearly always it is in one record, and all of it is there."""
    if len(data) > RECORD_AND_MESSAGE.size:
        kind, major, _minor, length, message = RECORD_AND_MESSAGE.unpack_from(data)
        end = RECORD_AND_MESSAGE.size + (message & 0xFFFFFF)
        is_hello = (kind, major, message >> 24) == (HANDSHAKE, MAJOR, CLIENT_HELLO)
        if is_hello and end <= len(data) and end <= RECORD.size + length <= LONGEST_RECORD:
            return data[RECORD_AND_MESSAGE.size : end]
    return _from_records(data)


def _from_records(data: bytes) -> bytes | None:
    """The same from as many records as it takes."""
    if not _is_handshake(data):
        return None
    message, at = bytearray(), 0
    for _ in range(MOST_RECORDS):
        if len(data) < at + RECORD.size:
            return None
        kind, major, _minor, length = RECORD.unpack_from(data, at)
        if kind != HANDSHAKE or major != MAJOR or not 0 < length <= LONGEST_RECORD:
            raise BrokenHello(f"a record of kind {kind} and {length} bytes is within the ClientHello")
        at += RECORD.size
        message += data[at : at + length]
        at += length
        if message and message[0] != CLIENT_HELLO:
            raise BrokenHello(f"the handshake begins with message {message[0]} instead of a ClientHello")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > LONGEST_HELLO:
                raise BrokenHello(f"the ClientHello has {size} bytes, and {LONGEST_HELLO} is the most")
            if len(message) >= 4 + size:
                return bytes(message[4 : 4 + size])
        if at > len(data):
            return None
    raise BrokenHello(f"the ClientHello is cut into more than {MOST_RECORDS} records")


def _is_handshake(data: bytes) -> bool:
    """Whether these are the first bytes of a handshake; NotTls where they cannot become it."""
    if data[:2] == b"\x16\x03":
        return True
    if data.startswith(METHODS):
        raise PlainHttp("this is plain HTTP, and this port speaks TLS")
    if b"\x16\x03".startswith(data) or any(method.startswith(data) for method in METHODS):
        return False
    raise NotTls("the first bytes are no TLS")


def _read(body: bytes) -> ClientHello:
    at = SESSION_ID + 1 + body[SESSION_ID]
    end = at + 2 + NUMBER.unpack_from(body, at)[0]
    suites = body[at + 2 : end]
    if len(suites) % 2:
        raise BrokenHello("the list of cipher suites in the ClientHello has an odd length")
    end += 1 + body[end]  # the compression methods, which nobody has any more
    found = _extensions(body, end)
    name, protocols, versions = found.get(SERVER_NAME), found.get(PROTOCOLS), found.get(VERSIONS)
    return ClientHello(
        "" if name is None else _server_name(name),
        () if protocols is None else _protocols(protocols),
        NUMBER.unpack_from(body, 0) if versions is None else _versions(versions),
        suites,
    )


def _extensions(body: bytes, at: int) -> dict[int, bytes]:
    """The extensions that we read. All are walked through: they have to end where the hello ends."""
    found: dict[int, bytes] = {}
    end = len(body)
    if at == end:
        return found
    if at + 2 + NUMBER.unpack_from(body, at)[0] != end:
        raise BrokenHello("the extensions of the ClientHello do not end where it ends")
    at += 2
    unpack = TWO_NUMBERS.unpack_from
    while at < end:
        kind, size = unpack(body, at)
        at += 4
        if kind in WANTED:
            if kind in found:
                raise BrokenHello(f"extension {kind} stands in the ClientHello twice")
            found[kind] = body[at : at + size]
        at += size
    if at != end:
        raise BrokenHello("the last extension of the ClientHello is longer than the hello")
    return found


def _numbers(data: bytes) -> tuple[int, ...]:
    """The numbers of two bytes, without the meaningless ones. An odd length is refused."""
    if len(data) % 2:
        raise BrokenHello("a list of numbers in the ClientHello has an odd length")
    numbers = unpack_from(f">{len(data) // 2}H", data)
    return numbers if GREASE.isdisjoint(numbers) else tuple(each for each in numbers if each not in GREASE)


def _server_name(data: bytes) -> str:
    """The name in a list that has to hold one name, as OpenSSL wants it: RFC 6066 section 3."""
    size, name = NUMBER.unpack_from(data)[0], data[5:].lower()
    if len(data) != 2 + size or data[2] != 0 or NUMBER.unpack_from(data, 3)[0] != len(name):
        raise BrokenHello("the list of server names is not one DNS name")
    name = name.removesuffix(b".")
    if len(name) > LONGEST_NAME or not DNS_NAME.fullmatch(name):
        raise BadServerName(f"the server name {name[:LONGEST_NAME].decode('latin-1')!r} is no DNS name")
    return name.decode()


def _protocols(data: bytes) -> tuple[bytes, ...]:
    """The protocols of a list (ALPN): RFC 7301 section 3.1."""
    at, end = 2, len(data)
    if NUMBER.unpack_from(data)[0] != end - 2 or end == 2:
        raise BrokenHello("the list of protocols is not as long as it says")
    protocols = []
    while at < end:
        size = data[at]
        protocol = data[at + 1 : at + 1 + size]
        at += 1 + size
        if not size or at > end:
            raise BrokenHello("a protocol in the ClientHello is empty, or longer than its list")
        if protocol not in GREASE_PROTOCOLS:
            protocols.append(protocol)
    return tuple(protocols)


def _versions(data: bytes) -> tuple[int, ...]:
    if data[0] != len(data) - 1:
        raise BrokenHello("the list of versions is not as long as it says")
    return _numbers(data[1:])
