"""Whole connections made up and damaged, and what must be true of every one of them.

Few examples, for they are in everybody's way; FUZZ_EXAMPLES asks for more (`just fuzz`). They cost two
milliseconds each, because one balancer is there for all.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.checks.house import House, Outcome
from tests.kit.smuggling import CODINGS, HIDDEN, LENGTHS, gadgets

fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

# -- connections, whole ----------------------------------------------------------------------------------

METHODS = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"X", b"CONNECT", b"TRACE", b"get", b"(")
TARGETS = (b"/", b"/a?b=c", b"*", b"http://b/", b"http://b", b"a", b"//", b"/" + b"a" * 250, b"/#")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"")
LINES = (
    b"Host: a", b"Host: b", b"Host:", b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade",
    b"Connection: Content-Length, Host", b"Upgrade: websocket", b"Expect: 100-continue", b"Expect: x",
    b"TE: trailers", b"Trailer: x", b"X-Forwarded-For: 1", b"X_Forwarded_For: 1", b"Max-Forwards: 0", b"X: y",
    b"X:", b"X : y", b" X: y", b"X", b"X: \xff", b"X: " + b"y" * 300, b"Via: 1.1 x", b"Cookie: a=b",
)  # fmt: skip
FRAMINGS = (
    *(b"Transfer-Encoding: " + coding for coding in CODINGS),
    *(b"Content-Length: " + length for length in LENGTHS if b"%d" not in length and b"%x" not in length),
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: %d" % len(HIDDEN), b"Content-Length : 5",
)  # fmt: skip
SIZES = (b"0", b"5", b"05", b"%x" % len(HIDDEN), b"5;a=b", b"5 ", b"0x5", b"", b"5;a\n", b"ffffffffffffffff")
CONTENTS = (b"hello", HIDDEN, b"", b"0\r\n\r\n", b"\r\n")
ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n")


@st.composite
def plain_requests(draw: st.DrawFn) -> bytes:
    """A request that nobody could misread."""
    method = draw(st.sampled_from((b"GET", b"POST", b"HEAD", b"DELETE")))
    lines = draw(
        st.lists(st.sampled_from((b"X: y", b"Y:", b"Cookie: a=b", b"Connection: keep-alive")), max_size=3)
    )
    content = draw(st.sampled_from(CONTENTS))
    framing, body = draw(
        st.sampled_from(
            (
                ([], b""),
                ([b"Content-Length: %d" % len(content)], content),
                ([b"Transfer-Encoding: chunked"], in_chunks(content) + b"0\r\n\r\n"),
                ([b"Transfer-Encoding: chunked"], in_chunks(content) + b"0\r\nX: y\r\n\r\n"),
            )
        )
    )
    return b"\r\n".join((method + b" / HTTP/1.1", b"Host: a", *lines, *framing, b"", b"")) + body


def in_chunks(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


@st.composite
def strange_requests(draw: st.DrawFn) -> bytes:
    """A request with anything in it that is known to be misread by somebody."""
    start = b" ".join(draw(st.sampled_from(words)) for words in (METHODS, TARGETS, VERSIONS))
    lines = draw(st.lists(st.sampled_from(LINES + FRAMINGS), max_size=5))
    end = draw(st.sampled_from(ENDS))
    chunks = draw(st.lists(st.tuples(st.sampled_from(SIZES), st.sampled_from(CONTENTS)), max_size=3))
    body = b"".join(size + end + content + b"\r\n" for size, content in chunks)
    return b"\r\n".join((start, b"Host: a", *lines, b"")) + end + body


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """One byte is another one, or missing, or too many."""
    data = draw(whole)
    at = draw(st.integers(0, max(0, len(data) - 1)))
    byte = draw(st.sampled_from((b"\r", b"\n", b" ", b"\t", b":", b",", b"\x00", b"0", b";", b"\xff", b"")))
    byte = draw(st.one_of(st.just(byte), st.binary(min_size=1, max_size=1)))
    return data[:at] + byte + data[at + draw(st.integers(0, 1)) :]


PLAIN = st.lists(plain_requests(), min_size=1, max_size=3).map(b"".join)
STRANGE = st.lists(st.one_of(plain_requests(), strange_requests()), min_size=1, max_size=3).map(b"".join)
ANYTHING = st.one_of(
    STRANGE, damaged(PLAIN), damaged(STRANGE), st.sampled_from(list(gadgets())), st.binary(max_size=100)
)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=4))
    return in_pieces(data, places)


def in_pieces(data: bytes, places: set[int]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise(sorted({0, len(data), *places})) if start < end]


# -- what must be true -----------------------------------------------------------------------------------


SPACE_BEFORE_EXTENSION = re.compile(rb"(?<=[0-9A-Fa-f])[ \t]+;")
"""Legal by RFC 9112 section 7.1.1, but h11 does not know it."""


def requests_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Method and body of every whole request that a lenient reader sees there, up to what it refuses."""
    data = SPACE_BEFORE_EXTENSION.sub(b";", data)
    while data := data.lstrip(b"\r\n"):
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(data)
        body = b""
        try:
            while not isinstance(event := reader.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    method = event.method
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return
        except h11.RemoteProtocolError:
            return
        yield method, body
        data = reader.trailing_data[0]


def holds(data: bytes, outcome: Outcome) -> None:
    """Each forwarded request is one that the client sent, in its order, and was answered.

    That each has exactly one framing, and a form of which there is only one, the backend has made sure of.
    """
    sent = list(requests_of(data))
    heard = [(request.start.split(" ")[0].encode(), request.body) for request in outcome.heard]
    assert heard == sent[: len(heard)]
    assert Counter(outcome.statuses)[200] == len(heard)
    assert len([status for status in outcome.statuses if status >= 200]) <= len(sent) + 1


@given(data=st.data(), sent=ANYTHING)
@fuzzed
def test_any_bytes_end_alike_however_they_are_cut(house: House, data: st.DataObject, sent: bytes) -> None:
    whole = house.plays(sent)
    holds(sent, whole)
    pieces = data.draw(cuts(sent))
    assert house.plays(*pieces) == whole
    assert house.plays(*in_pieces(sent, set(range(len(sent))))) == whole


@given(sent=damaged(PLAIN))
@fuzzed
def test_c102_one_wrong_byte_in_a_valid_connection(house: House, sent: bytes) -> None:
    holds(sent, house.plays(sent))


EXAMPLE = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;b=c\r\nhello\r\n0\r\nX: y\r\n\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /c HTTP/1.1\r\nHost: a\r\n\r\n"
)


def test_every_cut_in_two(house: House) -> None:
    whole = house.plays(EXAMPLE)
    assert whole.statuses == (200, 200, 200)
    for at in range(1, len(EXAMPLE)):
        assert house.plays(EXAMPLE[:at], EXAMPLE[at:]) == whole, EXAMPLE[:at]


@pytest.mark.parametrize("byte", [b"\x00", b"\r", b"\n", b" ", b"0", b""], ids=repr)
def test_c102_every_place_for_a_wrong_byte(house: House, byte: bytes) -> None:
    for at in range(len(EXAMPLE)):
        for sent in (EXAMPLE[:at] + byte + EXAMPLE[at:], EXAMPLE[:at] + byte + EXAMPLE[at + 1 :]):
            holds(sent, house.plays(sent))


# -- answers ---------------------------------------------------------------------------------------------

STATUS_LINES = (
    b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 304 x", b"HTTP/1.1 204", b"HTTP/1.1 500 \xff",
    b"HTTP/1.1 101 x", b"HTTP/1.1 103 x", b"HTTP/1.1 600 x", b"HTTP/2 200", b"ICY 200 OK", b"",
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    start = draw(st.sampled_from((STATUS_LINES[0], *STATUS_LINES)))
    lines = draw(st.lists(st.sampled_from(LINES + FRAMINGS), max_size=3))
    content = draw(st.sampled_from(CONTENTS))
    framing, body = draw(
        st.sampled_from(
            (
                ([], content),
                ([b"Content-Length: %d" % len(content)], content),
                ([b"Transfer-Encoding: chunked"], in_chunks(content) + b"0\r\n\r\n"),
            )
        )
    )
    return b"\r\n".join((start, *lines, *framing, b"", b"")) + body


ANSWERS = st.lists(answers(), min_size=1, max_size=2).map(b"".join)


@given(data=st.data(), said=st.one_of(ANSWERS, damaged(ANSWERS), st.binary(min_size=1, max_size=50)))
@fuzzed
def test_any_answer_is_relayed_whole_or_refused_or_seen_to_break(
    house: House, data: st.DataObject, said: bytes
) -> None:
    """In pieces it may break where it was refused before, for its head has gone on; never the other way."""
    whole = house.relays(said)
    assert len([status for status in whole.statuses if status >= 200]) <= 1
    pieces = data.draw(cuts(said))
    for cut in (house.relays(*pieces), house.relays(*in_pieces(said, set(range(len(said)))))):
        assert cut == whole or (502 in whole.statuses and not cut.is_whole)
