"""The answers that are our own: nothing that a client sends can break a line of them."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.exchange_record import ExchangeRecord
from lb.errors import BackendStalled, BadRequest, ClientGone, LBError, QueueFull, Reason, Unavailable
from lb.http1.error_answer import (
    CONTINUE,
    error_answer,
    known_as,
    options_answer,
    reason_phrase,
    redirect_answer,
)
from lb.http1.request_head import ALLOW
from lb.http1.request_line import METHOD
from tests.http1.messages import answered, read

DATE = b"Thu, 01 Jan 2026 00:00:00 GMT"
PROXY_STATUS = re.compile(  # RFC 8941: a list of one item, a token with two parameters
    rb'lb; error=([a-z][a-z0-9_*-]*); details="((?:[ !#-\[\]-~]|\\["\\])*)"'
)


def exchange(method: bytes = b"GET") -> ExchangeRecord:
    made = ExchangeRecord(b"0123abcd", "listener", "client", 0.0)
    made.method = method
    return made


def answerable(below: type[LBError] = LBError) -> Iterator[type[LBError]]:
    """Every error that is answered: a client that has left gets nothing, and status 0 is no answer."""
    if below.status and not issubclass(below, ClientGone):
        yield below
    for kind in below.__subclasses__():
        yield from answerable(kind)


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


@pytest.mark.parametrize("kind", [*answerable()], ids=lambda kind: kind.__name__)
def test_every_failure_explains_itself(kind: type[LBError]) -> None:
    head, body = split(error_answer(kind("why it failed"), exchange(), DATE, closing=True))
    said = read(head)
    assert said.start == b"HTTP/1.1 %d %b" % (kind("").status, reason_phrase(kind("").status))
    assert said.values(b"date") == [DATE]
    assert said.values(b"x-request-id") == [b"0123abcd"]
    assert said.values(b"content-type") == [b"text/plain; charset=utf-8"]
    assert said.values(b"content-length") == [b"%d" % len(body)]
    assert said.values(b"connection") == [b"close"]
    assert body.endswith(b": why it failed\n")
    [status] = said.values(b"proxy-status")
    match = PROXY_STATUS.fullmatch(status)
    assert match is not None
    assert match.groups() == (kind("").reason.encode(), b"why it failed")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_a_token(reason: Reason) -> None:
    assert METHOD.fullmatch(reason.encode())


@given(
    detail=st.text(min_size=1) | st.binary(min_size=1).map(lambda b: b.decode("latin-1")),
    closing=st.booleans(),
)
def test_nothing_that_is_said_breaks_a_line(detail: str, closing: bool) -> None:
    answer = error_answer(BadRequest(detail), exchange(), DATE, closing)
    head, body = split(answer)
    said = read(head)
    assert len(said.fields) == 5 + closing
    assert PROXY_STATUS.fullmatch(said.values(b"proxy-status")[0])
    assert said.values(b"content-length") == [b"%d" % len(body)]
    assert body.count(b"\n") == 1
    assert len(answer) < 1024
    assert answered(head).keep_alive is not closing


@pytest.mark.parametrize(
    "evil", ["a\r\nSet-Cookie: x", 'a"; b="c', "a\\", "a\x00b", "\u2028", "\ud800", "\xe4"]
)
def test_c96_a_client_cannot_add_a_line_or_a_parameter(evil: str) -> None:
    said = read(split(error_answer(BadRequest(evil), exchange(), DATE, closing=True))[0])
    match = PROXY_STATUS.fullmatch(said.values(b"proxy-status")[0])
    assert match is not None
    assert match[2] == "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in evil).encode()


def test_head_gets_no_body_and_its_length() -> None:
    error = Unavailable("no backend is there")
    head, body = split(error_answer(error, exchange(b"HEAD"), DATE, closing=False))
    assert body == b""
    assert head == split(error_answer(error, exchange(b"GET"), DATE, closing=False))[0]


@pytest.mark.parametrize("status", [400, 405, 408, 413, 414, 417, 431, 501, 505, 508])
def test_allow_is_said_with_405_alone(status: int) -> None:
    said = read(split(error_answer(BadRequest("no", status), exchange(), DATE, closing=True))[0])
    assert said.values(b"allow") == ([ALLOW] if status == 405 else [])


def test_a_connection_that_stays_says_nothing_of_it() -> None:
    said = read(split(error_answer(QueueFull("full"), exchange(), DATE, closing=False))[0])
    assert b"connection" not in said.names


@pytest.mark.parametrize("kind", [QueueFull, BackendStalled])
def test_clients_need_not_be_told_what_is_behind_us(kind: type[LBError]) -> None:
    answer = error_answer(kind("web1 at http://10.0.0.1"), exchange(), DATE, closing=False, tells_all=False)
    head, body = split(answer)
    assert b"web1" not in answer
    assert body == b"%d %b\n" % (kind.status, reason_phrase(kind.status))
    assert read(head).values(b"proxy-status") == [b"lb; error=%b" % kind.reason.encode()]


def test_what_was_wrong_with_the_request_is_told_in_any_case() -> None:
    answer = error_answer(BadRequest("no Host"), exchange(), DATE, closing=True, tells_all=False)
    assert b"400 Bad Request: no Host\n" in answer


@pytest.mark.parametrize(
    ("name", "by"), [("edge-1", b"edge-1"), ("10.0.0.1", b'"10.0.0.1"'), ("_x", b'"_x"')]
)
def test_our_name_is_a_token_or_a_string(name: str, by: bytes) -> None:
    head, _ = split(error_answer(QueueFull("full"), exchange(), DATE, closing=False, by=known_as(name)))
    assert read(head).values(b"proxy-status") == [by + b'; error=connection_limit_reached; details="full"']


def test_b64_the_answer_to_options() -> None:
    answer = options_answer(DATE) + b"\r\n"
    head = answered(answer)
    assert (head.status, head.length, head.keep_alive) == (204, 0, True)
    said = read(answer)
    assert (said.values(b"allow"), said.values(b"date")) == ([ALLOW], [DATE])
    assert b"content-length" not in said.names


def test_a_redirect_names_the_place_and_has_no_body() -> None:
    answer = redirect_answer(DATE, b"https://a.test/x?y") + b"\r\n"
    head = answered(answer)
    assert (head.status, head.length, head.keep_alive) == (308, 0, True)
    assert read(answer).values(b"location") == [b"https://a.test/x?y"]


def test_continue_is_an_interim_answer() -> None:
    head = answered(CONTINUE)
    assert (head.status, head.is_interim, head.lines) == (100, True, b"")
