"""What an answer says: records, none, no such name, or nothing of use. Without sockets."""

import pytest

from lb.discovery.dns_answer import MOST_ALIASES, Found, NameMissing, Unhelpful, found
from lb.discovery.dns_message import Kind, Message, Rcode, Record, name_of

WEB, REAL, REALER = name_of("web.example"), name_of("real.example"), name_of("realer.example")
ONE, TWO = b"\x0a\0\0\1", b"\x0a\0\0\2"


def message(*answer: Record, rcode: int = 0, authority: tuple[Record, ...] = ()) -> Message:
    return Message(1, 0x8180, rcode, (WEB, Kind.A), [*answer], [*authority], [])


def a(name: bytes, data: bytes, ttl: int = 60) -> Record:
    return Record(name, Kind.A, ttl, data)


def alias(name: bytes, of: bytes, ttl: int = 60) -> Record:
    return Record(name, Kind.CNAME, ttl, of)


def soa(ttl: int) -> Record:
    return Record(name_of("example"), Kind.SOA, ttl, b"")


NS = Record(b"\0", Kind.NS, 3600, name_of("a.root-servers.net"))


def what(answer: Message) -> Found:
    return found(answer, WEB, Kind.A)


def test_records_count_as_long_as_the_shortest_lived() -> None:
    records = [a(WEB, ONE, 30), a(WEB, TWO, 20)]
    assert what(message(*records)) == Found(records, 20, [])


def test_records_of_other_names_and_types_are_not_taken() -> None:
    assert what(message(a(REAL, ONE), Record(WEB, Kind.AAAA, 5, bytes(16)))) == Found([], None, [])


def test_aliases_are_followed_in_any_order() -> None:
    records = [a(REALER, ONE, 30), alias(REAL, REALER, 10), alias(WEB, REAL, 20)]
    assert what(message(*records)) == Found([records[0]], 10, [])


def test_an_answer_that_ends_with_an_alias_says_where_to_go_on() -> None:
    assert what(message(alias(WEB, REAL, 20))) == Found([], 20, [], REAL)


def test_an_alias_without_such_records_is_an_empty_answer() -> None:
    assert what(message(alias(WEB, REAL, 20), authority=(soa(7),))) == Found([], 7, [])


def test_aliases_in_a_circle_are_of_no_use() -> None:
    with pytest.raises(Unhelpful, match="an alias of itself"):
        what(message(alias(WEB, REAL), alias(REAL, WEB)))


def test_too_many_aliases_are_of_no_use() -> None:
    names = [WEB, *(name_of(f"n{number}.example") for number in range(MOST_ALIASES + 1))]
    with pytest.raises(Unhelpful, match="more than 16 aliases"):
        what(message(*(alias(name, names[at + 1]) for at, name in enumerate(names[:-1]))))


def test_an_empty_answer_counts_as_long_as_its_zone_says() -> None:
    assert what(message(authority=(soa(7),))) == Found([], 7, [])
    assert what(message(authority=(soa(7), NS))) == Found([], 7, [])


def test_an_empty_answer_need_not_say_how_long_it_counts() -> None:
    assert what(message()) == Found([], None, [])


def test_a_server_that_names_others_has_not_said_that_there_is_nothing() -> None:
    with pytest.raises(Unhelpful, match="names other servers to be asked"):
        what(message(authority=(NS,)))


def test_addresses_for_no_record_show_that_the_records_were_left_out() -> None:
    cut = message(authority=(soa(0),))
    cut.additional.append(a(REAL, ONE))
    with pytest.raises(Unhelpful, match="leaves the records out"):
        what(cut)
    whole = message(authority=(soa(7), NS))  # they are those of the servers of the zone
    whole.additional.append(a(NS.data, ONE))
    assert what(whole).records == []


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(NameMissing, match=r"^web\.example does not exist$"):
        what(message(rcode=Rcode.NXDOMAIN, authority=(soa(7),)))


def test_an_alias_of_a_name_that_does_not_exist() -> None:
    with pytest.raises(
        NameMissing, match=r"^real\.example, of which web\.example is an alias, does not exist$"
    ):
        what(message(alias(WEB, REAL), rcode=Rcode.NXDOMAIN))


@pytest.mark.parametrize(
    ("rcode", "why"),
    [(2, "answers SERVFAIL"), (5, "answers REFUSED"), (16, "answers BADVERS"), (9, "with code 9")],
)
def test_other_answers_are_of_no_use(rcode: int, why: str) -> None:
    with pytest.raises(Unhelpful, match=why):
        what(message(a(WEB, ONE), rcode=rcode))
