"""The messages of DNS: a question is written, an answer is read (RFC 1035 section 4, RFC 2782, RFC 6891).

A name is kept as the bytes that stand for it in a message, in lower case and without compression. So equal
names are equal bytes, and a name from an answer can be asked for whatever it has in its labels. Only those
records are kept that sources of backends have a use for.

An answer may have thousands of records, so the reading is an iterator that is run in slices. Whatever bytes
have come, it ends: each pointer of a name points before the one that led to it, and their number is bounded.
"""

from collections.abc import Generator
from enum import IntEnum
from struct import Struct, error
from typing import NamedTuple

MOST_BYTES = 65535
"""Of a message, and of what we take from a socket at once."""
UDP_BYTES = 1232
"""What a name server may send us by UDP: as much as passes every network in one piece."""
LONGEST_NAME = 255
LONGEST_LABEL = 63
MOST_POINTERS = 64
POINTER = 0xC0
INTERNET = 1
HIGHEST_TTL = 0x7FFF_FFFF
HEADER = Struct("!6H")
ASKED = Struct("!HH")
RECORD = Struct("!HHIH")
SERVICE = Struct("!HHH")
NUMBER = Struct("!I")
IS_ANSWER = 0x8000
TRUNCATED = 0x0200
RECURSION_DESIRED = 0x0100
SPECIAL = frozenset(b'.\\"();@$')
"""Characters of a label that are written with a backslash."""


class Kind(IntEnum):
    """The types of records that we know."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    AAAA = 28
    SRV = 33
    OPT = 41


class Rcode(IntEnum):
    """What an answer is an answer of."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


NAMED = frozenset({Kind.NS, Kind.CNAME})
KEPT = NAMED | {Kind.A, Kind.AAAA, Kind.SOA, Kind.SRV}
SIZES = {Kind.A: 4, Kind.AAAA: 16}


class Malformed(Exception):
    """Bytes that are no message: what is wrong with them."""


class Service(NamedTuple):
    """What an SRV record has beside its target."""

    priority: int
    weight: int
    port: int


class Record(NamedTuple):
    """`data` is an address, or the name that an alias, a service or a delegation leads to.

    The `ttl` of an SOA record is how long an empty answer counts (RFC 2308 section 5).
    """

    name: bytes
    kind: int
    ttl: int
    data: bytes
    service: Service | None = None


class Message(NamedTuple):
    """An answer. `asked` is the name and the type of its question, None where it has not exactly one."""

    id: int
    flags: int
    rcode: int
    asked: tuple[bytes, int] | None
    answer: list[Record]
    authority: list[Record]
    additional: list[Record]


# -- names -----------------------------------------------------------------------------------------------


def name_of(text: str) -> bytes:
    """The absolute name, with or without a dot at its end; ValueError where it can be none."""
    labels = [label.encode("ascii") for label in text.removesuffix(".").split(".")]
    name = (
        b"".join(bytes([len(label)]) + label for label in labels if 0 < len(label) <= LONGEST_LABEL) + b"\0"
    )
    if len(name) != sum(len(label) + 1 for label in labels) + 1 or len(name) > LONGEST_NAME:
        raise ValueError(f"{text!r} is no name of DNS")
    return name.lower()


def text_of(name: bytes) -> str:
    """The name as people write it, without the dot at its end; `.` is the root."""
    labels, at = [], 0
    while name[at]:
        labels.append("".join(_written(byte) for byte in name[at + 1 : at + 1 + name[at]]))
        at += 1 + name[at]
    return ".".join(labels) or "."


def _written(byte: int) -> str:
    if not 0x20 < byte < 0x7F:
        return f"\\{byte:03}"
    return f"\\{chr(byte)}" if byte in SPECIAL else chr(byte)


# -- writing ---------------------------------------------------------------------------------------------


def question(name: bytes, kind: int, id: int, *, extended: bool = True) -> bytes:  # noqa: A002 - the field's word
    """A message that asks for these records. `extended` says by EDNS how much we take by UDP."""
    head = HEADER.pack(id, RECURSION_DESIRED, 1, 0, 0, int(extended))
    end = b"\0" + RECORD.pack(Kind.OPT, UDP_BYTES, 0, 0) if extended else b""
    return head + name + ASKED.pack(kind, INTERNET) + end


# -- reading ---------------------------------------------------------------------------------------------


def is_truncated(wire: bytes) -> bool:
    """Whether a message says that it has not all. What follows its head may then end anywhere."""
    return len(wire) >= HEADER.size and bool(wire[2] & (TRUNCATED >> 8))


def may_answer(wire: bytes, id: int) -> bool:  # noqa: A002 - the field's word
    """Whether its head is that of an answer to the question of this id."""
    return len(wire) >= HEADER.size and wire[:2] == id.to_bytes(2, "big") and bool(wire[2] & (IS_ANSWER >> 8))


def reading(wire: bytes) -> Generator[None, None, Message]:
    """Read a message, a record at each step. Raises Malformed."""
    try:
        return (yield from _Reader(wire).message())
    except (error, IndexError):
        raise Malformed("it ends too early") from None


class _Reader:
    """Reads from `_at` on. Names are kept by their places, since later ones point there."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._at = HEADER.size
        self._names: dict[int, bytes] = {}
        self._rcode = 0

    def message(self) -> Generator[None, None, Message]:
        number, flags, questions, *counts = HEADER.unpack_from(self._wire)
        self._rcode = flags & 0xF
        asked = [self._question() for _ in range(min(questions, 2))]
        if questions > 1:
            raise Malformed("it has more than one question")
        sections = []
        for count in counts:
            sections.append((yield from self._section(count)))
        if self._at != len(self._wire):
            raise Malformed("something is behind its end")
        return Message(number, flags, self._rcode, asked[0] if asked else None, *sections)

    def _question(self) -> tuple[bytes, int]:
        name = self._name()
        kind, _ = ASKED.unpack_from(self._wire, self._at)
        self._at += ASKED.size
        return name, kind

    def _section(self, count: int) -> Generator[None, None, list[Record]]:
        records: list[Record] = []
        for _ in range(count):
            if (record := self._record()) is not None:
                records.append(record)
            yield
        return records

    def _record(self) -> Record | None:
        """The next record; None where it is one that we have no use for."""
        name = self._name()
        kind, group, ttl, size = RECORD.unpack_from(self._wire, self._at)
        begin = self._at + RECORD.size
        self._at = end = begin + size
        if end > len(self._wire):
            raise Malformed("it ends too early")
        if kind == Kind.OPT:
            self._rcode |= ttl >> 24 << 4  # the upper bits stand here (RFC 6891 section 6.1.3)
        if kind not in KEPT or group != INTERNET:
            return None
        # One with the highest bit set counts as none (RFC 2181 section 8).
        record = self._of(name, kind, ttl if ttl <= HIGHEST_TTL else 0, begin, size)
        if self._at != end:
            raise Malformed(f"a record of type {Kind(kind).name} has another size than it says")
        return record

    def _of(self, name: bytes, kind: int, ttl: int, begin: int, size: int) -> Record:
        if kind in SIZES:
            self._at = begin + SIZES[Kind(kind)]
            return Record(name, kind, ttl, self._wire[begin : begin + size])
        self._at = begin
        if kind in NAMED:
            return Record(name, kind, ttl, self._name())
        if kind == Kind.SRV:
            service = Service(*SERVICE.unpack_from(self._wire, begin))
            self._at += SERVICE.size
            return Record(name, kind, ttl, self._name(), service)
        self._name(), self._name()  # of an SOA record: the server and the person
        (minimum,) = NUMBER.unpack_from(self._wire, self._at + 4 * NUMBER.size)
        self._at += 5 * NUMBER.size
        return Record(name, kind, min(ttl, minimum), b"")

    def _name(self) -> bytes:
        """The name here; what follows it is read next."""
        begin = self._at
        name, self._at = self._name_at(begin)
        self._names[begin] = name
        return name

    def _name_at(self, at: int) -> tuple[bytes, int]:
        """The name at this place, and where it ends."""
        wire, lowest, labels = self._wire, at, []
        end = pointers = size = 0
        while True:
            length = wire[at]
            if length >= POINTER:
                to = (length & ~POINTER) << 8 | wire[at + 1]
                end, pointers = end or at + 2, pointers + 1
                if to >= lowest or pointers > MOST_POINTERS:
                    raise Malformed("the pointers of a name lead nowhere")
                if (known := self._names.get(to)) is not None:
                    labels.append(known)
                    break
                at = lowest = to
            elif length > LONGEST_LABEL:
                raise Malformed("a label is of a kind that nobody uses")
            else:
                labels.append(wire[at : at + 1 + length])
                at, size = at + 1 + length, size + 1 + length
                if not length or size > LONGEST_NAME:
                    break
        name = b"".join(labels).lower()
        if len(name) > LONGEST_NAME:
            raise Malformed("a name is too long")
        return name, end or at
