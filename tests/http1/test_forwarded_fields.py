"""What a backend is told about the client, and what a client may say of itself."""

import pytest

from lb.http1.forwarded_fields import ForwardedFields
from tests.http1.messages import fields

ID = b"0123abcd"


def stranger(sends_forwarded: bool = False, peer: bytes = b"192.0.2.1") -> ForwardedFields:
    return ForwardedFields(peer, trusted=False, via=b"lb (1a2b)", sends_forwarded=sends_forwarded)


def friend(sends_forwarded: bool = False) -> ForwardedFields:
    return ForwardedFields(b"10.0.0.1", trusted=True, via=b"lb (1a2b)", sends_forwarded=sends_forwarded)


CLAIMS = {
    b"x-forwarded-for": b"6.6.6.6",
    b"x-forwarded-proto": b"https",
    b"x-forwarded-host": b"evil.test",
    b"x-real-ip": b"6.6.6.6",
    b"x-request-id": b"theirs",
    b"forwarded": b"for=6.6.6.6",
}


def test_b62_b66_a_stranger_is_told_by_its_address() -> None:
    expected = [
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"x-forwarded-proto", b"http"),
        (b"via", b"1.1 lb (1a2b)"),
        (b"x-forwarded-host", b"a.test"),
        (b"x-request-id", ID),
    ]
    assert fields(stranger().lines(b"a.test", ID, None)) == expected
    assert fields(stranger().lines(b"a.test", ID, CLAIMS)) == expected
    assert stranger().request_id(CLAIMS) is None


@pytest.mark.parametrize(("is_1_0", "via"), [(False, b"1.1 lb (1a2b)"), (True, b"1.0 lb (1a2b)")])
@pytest.mark.parametrize("claims", [None, CLAIMS])
def test_b62_via_names_the_version_that_came_in(
    is_1_0: bool, via: bytes, claims: dict[bytes, bytes] | None
) -> None:
    for identity in (stranger(), friend()):
        assert [v for n, v in fields(identity.lines(b"a", ID, claims, is_1_0)) if n == b"via"] == [via]


@pytest.mark.parametrize("claims", [None, {}])
def test_b66_a_friend_that_says_nothing_is_told_by_its_address(claims: dict[bytes, bytes] | None) -> None:
    said = dict(fields(friend().lines(b"a.test", ID, claims)))
    assert said[b"x-forwarded-for"] == b"10.0.0.1"
    assert said[b"x-forwarded-host"] == b"a.test"
    assert friend().request_id(claims) is None


def test_b66_the_word_of_a_friend_is_kept_and_extended() -> None:
    said = fields(friend().lines(b"a.test", ID, CLAIMS))
    assert len(said) == len(dict(said))
    assert dict(said) == {
        **CLAIMS,
        b"x-forwarded-for": b"6.6.6.6, 10.0.0.1",
        b"x-request-id": ID,
        b"via": b"1.1 lb (1a2b)",
    }


@pytest.mark.parametrize("claim", [{b"x-forwarded-for": b""}, {b"x-real-ip": b"1.1.1.1"}])
def test_b66_what_a_friend_leaves_out_is_filled_in(claim: dict[bytes, bytes]) -> None:
    said = dict(fields(friend().lines(b"a.test", ID, claim)))
    assert said[b"x-forwarded-for"] == b"10.0.0.1"
    assert said[b"x-forwarded-proto"] == b"http"
    assert said[b"x-forwarded-host"] == b"a.test"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (b"192.0.2.1", b'for=192.0.2.1;host="a.test:80";proto=http'),
        (b"2001:db8::1", b'for="[2001:db8::1]";host="a.test:80";proto=http'),
    ],
)
def test_forwarded_is_said_by_choice(peer: bytes, expected: bytes) -> None:
    said = dict(fields(stranger(True, peer).lines(b"a.test:80", ID, CLAIMS)))
    assert said[b"forwarded"] == expected


@pytest.mark.parametrize(("before", "expected"), [(b"for=6", b"for=6, "), (None, b""), (b"", b"")])
def test_forwarded_extends_what_a_friend_said(before: bytes | None, expected: bytes) -> None:
    claims = {b"x-real-ip": b"1"} | ({} if before is None else {b"forwarded": before})
    said = dict(fields(friend(True).lines(b"a", ID, claims)))
    assert said[b"forwarded"] == expected + b'for=10.0.0.1;host="a";proto=http'


@pytest.mark.parametrize("claimed", [b"a", b"A-1._~+/=:z", b"x" * 128])
def test_an_id_of_a_friend_is_taken_over(claimed: bytes) -> None:
    assert friend().request_id({b"x-request-id": claimed}) == claimed


@pytest.mark.parametrize(
    "claimed", [b"", b"a b", b"a, b", b'a"', b"a\xe4", b"x" * 129, b"a\\", b"a;b", b"a\tb"]
)
def test_an_id_that_is_not_fit_to_be_logged_is_not(claimed: bytes) -> None:
    assert friend().request_id({b"x-request-id": claimed}) is None


@pytest.mark.parametrize("claims", [None, {b"x-forwarded-for": b"192.0.2.7"}])
def test_f5_14_without_a_name_there_is_no_via(claims: dict[bytes, bytes] | None) -> None:
    identity = ForwardedFields(b"192.0.2.1", True, b"", sends_forwarded=False)
    for is_1_0 in (False, True):
        assert b"via" not in {name for name, _ in fields(identity.lines(b"a", ID, claims, is_1_0))}
