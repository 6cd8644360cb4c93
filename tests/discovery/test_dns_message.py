"""Messages of DNS. dnspython, which shares no code with ours, says what is in them."""

from collections import Counter

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.discovery.dns_message import (
    MOST_POINTERS,
    Kind,
    Malformed,
    Message,
    Rcode,
    Record,
    Service,
    is_truncated,
    may_answer,
    name_of,
    question,
    reading,
    text_of,
)
from lb.slices import at_once

NAME = name_of("web.example")
LABELS = st.text("abcXYZ019_-", min_size=1, max_size=12)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(lambda labels: ".".join(labels) + ".")
U16 = st.integers(0, 65535)
TTLS = st.integers(0, 2**31 - 1)
ADDRESSES = {Kind.A: st.ip_addresses(v=4).map(str), Kind.AAAA: st.ip_addresses(v=6).map(str)}


def read(wire: bytes) -> Message:
    return at_once(reading(wire))


def wire_of(answer: dns.message.Message) -> bytes:
    return answer.to_wire(max_size=65535)


def answer_to(name: str, kind: str, *rrsets: dns.rrset.RRset) -> dns.message.Message:
    answer = dns.message.make_response(dns.message.make_query(name, kind, use_edns=0))
    answer.answer.extend(rrsets)
    return answer


@st.composite
def rrsets(draw: st.DrawFn) -> dns.rrset.RRset:
    kind = draw(st.sampled_from([Kind.A, Kind.AAAA, Kind.SRV, Kind.CNAME, Kind.NS]))
    texts = {
        Kind.SRV: st.builds("{} {} {} {}".format, U16, U16, U16, NAMES),
        Kind.CNAME: NAMES,
        Kind.NS: NAMES,
        **ADDRESSES,
    }[kind]
    most = 1 if kind is Kind.CNAME else 3
    values = draw(st.lists(texts, min_size=1, max_size=most, unique=True))
    return dns.rrset.from_text_list(draw(NAMES), draw(TTLS), "IN", kind.name, values)


def theirs(rrset: dns.rrset.RRset) -> list[Record]:
    """What dnspython has in a set of records, as we would have it."""
    found, name = [], rrset.name.to_wire()
    assert name is not None
    for each in rrset:
        service, data = None, each.to_wire() or b""
        if int(rrset.rdtype) == Kind.SRV:
            service = Service(each.priority, each.weight, each.port)
            data = data[6:]
        data = data if Kind(rrset.rdtype) in (Kind.A, Kind.AAAA) else data.lower()
        found.append(Record(name.lower(), rrset.rdtype, rrset.ttl, data, service))
    return found


@given(NAMES, st.sampled_from([Kind.A, Kind.AAAA, Kind.SRV]), U16, st.booleans())
def test_a_question_says_what_is_asked(name: str, kind: Kind, number: int, extended: bool) -> None:
    asked = dns.message.from_wire(question(name_of(name), kind, number, extended=extended))
    assert asked.id == number
    assert asked.flags == dns.flags.RD
    assert [(each.name, int(each.rdtype)) for each in asked.question] == [
        (dns.name.from_text(name.lower()), int(kind))
    ]
    assert (asked.edns, asked.payload) == ((0, 1232) if extended else (-1, 0))


@settings(max_examples=50)
@given(st.lists(rrsets(), max_size=3), st.lists(rrsets(), max_size=2), st.lists(rrsets(), max_size=2))
def test_an_answer_is_read_as_dnspython_reads_it(
    answers: list[dns.rrset.RRset], authority: list[dns.rrset.RRset], additional: list[dns.rrset.RRset]
) -> None:
    sent = answer_to("web.example.", "A", *answers)
    sent.authority.extend(authority)
    sent.additional.extend(additional)
    message = read(wire_of(sent))
    assert message.id == sent.id
    assert message.rcode == Rcode.NOERROR
    assert message.asked == (NAME, Kind.A)
    for ours, expected in zip(message[4:], (answers, authority, additional), strict=True):
        # dnspython shuffles the records of a set when it sends them.
        assert Counter(ours) == Counter(record for rrset in expected for record in theirs(rrset))


@settings(max_examples=100)
@given(st.data())
def test_whatever_bytes_come_they_are_read_or_refused(data: st.DataObject) -> None:
    wire = bytearray(wire_of(answer_to("web.example.", "A", *data.draw(st.lists(rrsets(), max_size=3)))))
    for _ in range(data.draw(st.integers(0, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(wire[: data.draw(st.integers(0, len(wire)))])
    try:
        ours = read(damaged)
    except Malformed:
        return
    try:
        other = dns.message.from_wire(damaged)
    except dns.exception.DNSException:
        return  # it also reads what we skip, and knows more rules of that
    addresses = {record.data for record in ours.answer if record.kind == Kind.A}
    assert addresses == {
        each.to_wire()
        for rrset in other.answer
        if int(rrset.rdtype) == Kind.A and rrset.rdclass == dns.rdataclass.IN
        for each in rrset
    }


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(wire: bytes) -> None:
    try:
        read(wire)
    except Malformed:
        return


def test_pointers_that_lead_to_themselves_end() -> None:
    head = question(NAME, Kind.A, 1, extended=False)
    wire = head[:6] + b"\0\1" + head[8:] + b"\xc0" + bytes([len(head)]) + b"\0\1\0\1\0\0\0\0\0\4\1\2\3\4"
    with pytest.raises(Malformed, match="pointers"):
        read(wire)


def chained(pointers: int) -> bytes:
    """An answer whose last record has a name behind so many pointers, each of which leads to another."""
    head = question(NAME, Kind.A, 1, extended=False)
    begin = len(head) + 11  # behind the head of a record that is skipped, and has the others in it
    leading = [12, *(begin + 2 * at for at in range(pointers - 1))]
    chain = b"".join((0xC000 | at).to_bytes(2, "big") for at in leading[:-1])
    skipped = b"\0\0\xff\0\1\0\0\0\0" + len(chain).to_bytes(2, "big") + chain
    last = (0xC000 | leading[-1]).to_bytes(2, "big") + b"\0\1\0\1\0\0\0\0\0\4\1\2\3\4"
    return head[:6] + b"\0\2" + head[8:] + skipped + last


def test_a_long_chain_of_pointers_is_refused() -> None:
    assert read(chained(MOST_POINTERS)).answer == [Record(NAME, Kind.A, 0, b"\1\2\3\4")]
    with pytest.raises(Malformed, match="pointers"):
        read(chained(MOST_POINTERS + 1))


def test_a_pointer_that_points_forward_is_refused() -> None:
    head = question(NAME, Kind.A, 1, extended=False)
    ahead = len(head) + 16
    record = (0xC000 | ahead).to_bytes(2, "big") + b"\0\1\0\1\0\0\0\0\0\4\1\2\3\4"
    wire = head[:6] + b"\0\2" + head[8:] + record + NAME + record[2:]
    assert wire[ahead:].startswith(NAME)
    with pytest.raises(Malformed, match="pointers"):
        read(wire)


def test_a_record_that_says_another_size_is_refused() -> None:
    wire = wire_of(
        answer_to("web.example.", "A", dns.rrset.from_text("web.example.", 5, "IN", "A", "10.0.0.1"))
    )
    at = wire.index(b"\0\4\x0a\0\0\1")
    with pytest.raises(Malformed, match="type A has another size"):
        read(wire[:at] + b"\0\5" + wire[at + 2 : at + 6] + b"\0" + wire[at + 6 :])
    with pytest.raises(Malformed, match="ends too early"):
        read(wire[:at] + b"\0\xff" + wire[at + 2 :])


@pytest.mark.parametrize(("ttl", "minimum", "counts"), [(300, 20, 20), (10, 20, 10)])
def test_how_long_an_empty_answer_counts(ttl: int, minimum: int, counts: int) -> None:
    sent = answer_to("web.example.", "A")
    soa = f"ns.example. who.example. 1 2 3 4 {minimum}"
    sent.authority.append(dns.rrset.from_text("example.", ttl, "IN", "SOA", soa))
    assert [record.ttl for record in read(wire_of(sent)).authority] == [counts]


def test_records_of_another_class_are_not_taken() -> None:
    ours = dns.rrset.from_text("web.example.", 77, "IN", "A", "10.0.0.1")
    wire = wire_of(answer_to("web.example.", "A", ours))
    at = wire.index(b"\0\0\0\x4d")
    assert len(read(wire).answer) == 1
    assert read(wire[: at - 2] + b"\0\3" + wire[at:]).answer == []


def test_something_behind_the_end_is_refused() -> None:
    with pytest.raises(Malformed, match="something is behind its end"):
        read(wire_of(answer_to("web.example.", "A")) + b"\0")


def test_a_negative_ttl_is_none() -> None:
    wire = wire_of(
        answer_to("web.example.", "A", dns.rrset.from_text("web.example.", 77, "IN", "A", "10.0.0.1"))
    )
    at = wire.index(b"\0\0\0\x4d")
    assert read(wire[:at] + b"\x80\0\0\x4d" + wire[at + 4 :]).answer[0].ttl == 0


def test_an_upper_part_of_the_rcode_is_read() -> None:
    sent = answer_to("web.example.", "A")
    sent.set_rcode(dns.rcode.BADVERS)
    assert read(wire_of(sent)).rcode == Rcode.BADVERS


def test_heads() -> None:
    sent = answer_to("web.example.", "A")
    sent.flags |= dns.flags.TC
    wire = wire_of(sent)
    assert is_truncated(wire)
    assert may_answer(wire, sent.id)
    assert not may_answer(wire, sent.id ^ 1)
    assert not may_answer(question(NAME, Kind.A, sent.id), sent.id)  # a question is no answer
    assert not may_answer(wire[:4], sent.id)
    assert not is_truncated(b"")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web.example", b"\3web\7example\0"),
        ("WEB.example.", b"\3web\7example\0"),
        ("_http._tcp.a", b"\5_http\4_tcp\1a\0"),
    ],
)
def test_names(text: str, name: bytes) -> None:
    assert name_of(text) == name
    assert text_of(name) == text.lower().rstrip(".")


@pytest.mark.parametrize("text", ["", ".", "a..b", f"{'a' * 64}.b", "a." * 127 + "bc", "gr\u00fcn.example"])
def test_no_names(text: str) -> None:
    with pytest.raises(ValueError):
        name_of(text)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
def test_names_are_shown_as_dnspython_shows_them(labels: list[bytes]) -> None:
    name = dns.name.Name([*(label.lower() for label in labels), b""])
    assert text_of(name.to_wire() or b"") == (name.to_text(omit_final_dot=True) if labels else ".")
