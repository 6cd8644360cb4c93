"""Which fields end here, and what we say of a client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.fields import (
    HOP_BY_HOP,
    IDENTITY,
    NEVER_CONNECTION_OPTIONS,
    NOT_IN_TRAILERS,
    REQUEST_CONTROL,
    connection_options,
    end_to_end_trailers,
    is_disguised,
    is_identity,
)

ID = b"0123abcd"


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([], set()),
        ([b"close"], {b"close"}),
        ([b"Keep-Alive, Close"], {b"keep-alive", b"close"}),
        ([b"", b"X-A"], {b"", b"x-a"}),
        ([b" a ,\tb\t,,c"], {b"a", b"b", b"", b"c"}),
        ([b"a b"], {b"a b"}),
        ([b"\xa0close"], {b"\xa0close"}),  # no whitespace to HTTP
        ([b"a", b"A", b"a"], {b"a"}),
    ],
)
def test_b58_connection_options(values: list[bytes], options: set[bytes]) -> None:
    assert connection_options(values) == options


def test_what_frames_a_message_is_never_a_connection_option() -> None:
    needed = {b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie"}
    assert needed <= NEVER_CONNECTION_OPTIONS
    assert not NEVER_CONNECTION_OPTIONS & HOP_BY_HOP


SAID_BY_PROXIES = [*sorted(IDENTITY), b"x-forwarded-for", b"x-forwarded-user", b"x-forwarded-client-cert"]


@pytest.mark.parametrize("name", SAID_BY_PROXIES)
def test_b67_every_spelling_of_an_identity_is_seen(name: bytes) -> None:
    assert is_identity(name)
    assert not is_disguised(name)
    assert not is_identity(b"x" + name)
    for mark in (b"_", b".", b"~", b"!", b"*", b"|", b"'"):
        for other in (name.replace(b"-", mark), name.replace(b"-", mark, 1)):
            assert other == name or is_disguised(other)
            assert not is_disguised(b"x" + other)


@pytest.mark.parametrize("name", sorted(name for name in REQUEST_CONTROL if b"-" in name))
def test_b67_every_spelling_of_what_frames_or_ends_here_is_seen(name: bytes) -> None:
    assert not is_disguised(name)
    for mark in (b"_", b".", b"~"):
        assert is_disguised(name.replace(b"-", mark))
        assert end_to_end_trailers(name.replace(b"-", mark) + b": 1\r\n") == b""


@given(st.from_regex(rb"[a-z]{1,3}([-_.][a-z]{1,3}){0,2}", fullmatch=True))
def test_b67_other_names_do_not_identify(name: bytes) -> None:
    assert not is_identity(name)
    assert not is_disguised(name)


# -- trailers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NOT_IN_TRAILERS))
def test_a45_fields_that_may_not_come_late(name: bytes) -> None:
    assert end_to_end_trailers(b"A: 1\r\n%b: x\r\nB: 2\r\n" % name) == b"A: 1\r\nB: 2\r\n"
    assert end_to_end_trailers(b"%b: x\r\n" % name.title()) == b""


def test_a45_what_frames_routes_and_identifies_may_not_come_late() -> None:
    assert NOT_IN_TRAILERS >= HOP_BY_HOP | IDENTITY | NEVER_CONNECTION_OPTIONS


@pytest.mark.parametrize(
    "section", [b"A: b", b"A: b\n", b"A : b\r\n", b"\r\n", b"A: b\r\n\r\n", b" A: b\r\n", b"x\r\n"]
)
def test_a45_what_is_no_field_line(section: bytes) -> None:
    with pytest.raises(ValueError, match="not a field line"):
        end_to_end_trailers(section)


def test_no_trailers() -> None:
    assert end_to_end_trailers(b"") == b""
