"""Who the client is, by what a request claims and by who is trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.client_address import MOST_HOPS, MOST_PARAMETERS, Trust, client_of, plain, without_port

PROXY = "10.0.0.1"
TRUST = Trust(("10.0.0.0/8", "fd00::/8", "unix"))


def by_list(value: bytes, peer: str = PROXY) -> str:
    return client_of(peer, {b"x-forwarded-for": value}, TRUST)


def by_forwarded(value: bytes, peer: str = PROXY) -> str:
    return client_of(peer, {b"forwarded": value}, TRUST)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"192.0.2.7", "192.0.2.7"),
        (b"6.6.6.6, 192.0.2.7", "192.0.2.7"),
        (b"6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        (b"192.0.2.7,10.0.0.3\t, fd00::2", "192.0.2.7"),
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),  # all are proxies: the first of them asked
        (b"192.0.2.7:5000", "192.0.2.7"),
        (b"2001:DB8::1", "2001:db8::1"),
        (b"[2001:db8:0::1]", "2001:db8::1"),
        (b"[2001:db8::1]:443", "2001:db8::1"),
        (b"::ffff:192.0.2.7", "192.0.2.7"),
        (b"[::ffff:192.0.2.7]:1", "192.0.2.7"),
        (b"192.0.2.7, ::ffff:10.0.0.2", "192.0.2.7"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"192.0.2.7, , ", "192.0.2.7"),  # RFC 9110 section 5.6.1.2: empty items count for nothing
        (b"", PROXY),
        (b" , ", PROXY),
        (b"unknown", PROXY),
        (b"_hidden", PROXY),
        (b"192.0.2.7, unknown, 10.0.0.2", "10.0.0.2"),
        (b"192.0.2.7, rubbish", PROXY),
        (b"192.0.2.7;", PROXY),
        (b"192.0.2.999", PROXY),
        (b"192.0.2.07", PROXY),
        (b"192.0.2.7:", PROXY),
        (b"192.0.2.7:123456", PROXY),
        (b"[192.0.2.7", PROXY),
        (b'"192.0.2.7"', PROXY),
        (b"1", PROXY),
        (b"unix", PROXY),
        (b"\xb9\xb2.0.2.7", PROXY),
        (b"192.0.2.7\x00", PROXY),
    ],
)
def test_the_client_is_the_rightmost_that_is_not_trusted(value: bytes, client: str) -> None:
    assert by_list(value) == client


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::9"])
def test_who_is_not_trusted_is_the_client_whatever_it_says(peer: str) -> None:
    assert by_list(b"6.6.6.6", peer) == by_forwarded(b"for=6.6.6.6", peer) == peer


def test_a_unix_socket_is_trusted_where_it_is_named() -> None:
    assert by_list(b"192.0.2.7", "unix") == "192.0.2.7"
    assert by_list(b"", "unix") == by_list(b"unknown", "unix") == "unix"
    assert client_of("unix", {b"x-forwarded-for": b"192.0.2.7"}, Trust(("0.0.0.0/0", "::/0"))) == "unix"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"for=192.0.2.7", "192.0.2.7"),
        (b'For="192.0.2.7:80";proto=https;by=10.0.0.2', "192.0.2.7"),
        (b'proto=http ; for="[2001:db8::1]:80"', "2001:db8::1"),
        (b"for=[2001:db8::1]", "2001:db8::1"),  # the quotes that are missing do no harm
        (b"for=192.0.2.7:80", "192.0.2.7"),
        (b"for=6.6.6.6, for=192.0.2.7, for=10.0.0.2", "192.0.2.7"),
        (b'for=192.0.2.7;by="a, for=6.6.6.6, b", for=10.0.0.2', "192.0.2.7"),
        (b'by=";for=6.6.6.6;";for=192.0.2.7', "192.0.2.7"),
        (b'by="\\";for=6.6.6.6";for=192.0.2.7', "192.0.2.7"),
        (b'for="192.0\\.2.7"', "192.0.2.7"),
        (b'for=", for=192.0.2.7', "192.0.2.7"),  # what a client sends before cannot hide it
        (b'for=6.6.6.6;x=", for=10.0.0.2', "10.0.0.2"),
        (b"", PROXY),
        (b"for=unknown", PROXY),
        (b"for=_a1", PROXY),
        (b"proto=http", PROXY),
        (b"192.0.2.7", PROXY),
        (b"for=192.0.2.7 x", PROXY),
        (b"for =192.0.2.7", PROXY),
        (b"for=6.6.6.6, proto=http, for=10.0.0.2", "10.0.0.2"),
    ],
)
def test_forwarded_says_the_same_in_its_own_words(value: bytes, client: str) -> None:
    assert by_forwarded(value) == client


def test_where_both_are_said_the_list_counts() -> None:
    assert client_of(PROXY, {b"x-forwarded-for": b"192.0.2.7", b"forwarded": b"for=6.6.6.6"}, TRUST) == (
        "192.0.2.7"
    )
    assert client_of(PROXY, {b"x-forwarded-for": b"", b"forwarded": b"for=6.6.6.6"}, TRUST) == PROXY


def test_the_walk_is_bounded() -> None:
    assert by_list(b"192.0.2.7" + b", 10.0.0.2" * MOST_HOPS) == "10.0.0.2"
    assert by_forwarded(b"for=192.0.2.7" + b", for=10.0.0.2" * 100) == "10.0.0.2"


def test_an_element_of_too_many_parameters_is_broken() -> None:
    others = b"a=b;" * (MOST_PARAMETERS - 1)
    assert by_forwarded(others + b"for=192.0.2.7") == "192.0.2.7"
    assert by_forwarded(b"a=b;" + others + b"for=192.0.2.7") == PROXY
    assert by_forwarded(b"for=192.0.2.7;a=b;" + others + b", for=10.0.0.2") == "10.0.0.2"


@given(st.lists(st.sampled_from(["10.0.0.2", "192.0.2.7", "x", "unknown", "", "2001:db8::1"]), max_size=8))
def test_nothing_further_left_than_the_client_makes_a_difference(entries: list[str]) -> None:
    value = ", ".join([*entries, "192.0.2.8", "10.0.0.2"]).encode()
    assert by_list(value) == by_list(b"192.0.2.8, 10.0.0.2") == "192.0.2.8"


@given(st.binary(max_size=200))
def test_no_value_does_harm(value: bytes) -> None:
    for client in (by_list(value), by_forwarded(value)):
        assert plain(client) == client


@pytest.mark.parametrize(
    ("text", "address"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("FE80::1%eth0", "fe80::1"), ("192.0.2.1", "192.0.2.1")],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert plain(text) == address


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("192.0.2.1:5", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("unix", "unix"),
        ("[2001:db8::1]:5", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_port_can_be_left_out(name: str, address: str) -> None:
    assert without_port(name) == address
