"""Every head that clients and proxies really send is recognised, with the verdict that the judge gives it.

The judge, and h11 within it, is the oracle. All slots are compared, and the lines with the spelling of their
names; only blanks around a value may differ.
"""

import re
from collections.abc import Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lb.errors import BadRequest
from lb.http1.body import CHUNKED
from lb.http1.fast_head import plain_request, read_request
from lb.http1.fields import HOP_BY_HOP, is_disguised, is_identity
from lb.http1.request_head import RequestHead, judge_request
from tests.http1.messages import DEFAULT_HOST, forwarded
from tests.http1.real_heads import CLIENTS, FRONTS, behind, head
from tests.kit.classes import attributes

TARGET_LIMIT = 8192
FIELD_LIMIT = 100
FIELD = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*?)[ \t]*\r\n")
Slots = dict[str, object]


def slots(verdict: RequestHead) -> Slots:
    """All that is in a verdict, the order of its claims and lines included."""
    all_of_it = {name: getattr(verdict, name) for name in attributes(RequestHead)}
    all_of_it["claims"] = None if verdict.claims is None else list(verdict.claims.items())
    all_of_it["lines"] = FIELD.findall(verdict.lines)
    assert len(FIELD.sub(b"", verdict.lines)) == 0
    return all_of_it


def recognised(data: bytes) -> RequestHead | None:
    return plain_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)


def judged(data: bytes) -> RequestHead:
    return judge_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)


def is_recognised_as_judged(data: bytes) -> bool:
    """False where it is for the judge; an AssertionError where the two verdicts differ."""
    verdict = recognised(data)
    if verdict is None:
        return False
    assert slots(verdict) == slots(judged(data))
    names = forwarded(verdict).names - {b"x-forwarded-for"}  # which `forwarded` adds
    assert not [name for name in names if is_identity(name) or is_disguised(name)]
    assert b"connection" not in names or verdict.upgrade or verdict.te_trailers
    assert not names & (HOP_BY_HOP - {b"connection", b"upgrade", b"te", b"trailer"})
    return True


@pytest.mark.parametrize("lines", CLIENTS.values(), ids=CLIENTS)
def test_the_head_of_every_client_is_recognised(lines: tuple[bytes, ...]) -> None:
    assert is_recognised_as_judged(head(lines))


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_the_head_of_every_client_is_recognised_behind_every_front(front: tuple[bytes, ...]) -> None:
    for lines in CLIENTS.values():
        assert is_recognised_as_judged(head(behind(front, lines)))
        for further in FRONTS.values():
            assert is_recognised_as_judged(head(behind(further, behind(front, lines))))


def test_what_is_recognised_of_some() -> None:
    """The values themselves, so that not only the two readers agree."""
    java = recognised(head(CLIENTS["Java 11"]))
    assert java is not None
    assert (java.upgrade, java.keep_alive, java.host) == (b"", True, b"a.test:8080")
    assert FIELD.findall(java.lines) == [
        (b"Host", b"a.test:8080"), (b"User-Agent", b"Java-http-client/21.0.2"),
    ]  # fmt: skip
    cdn = recognised(head(behind(FRONTS["Fastly"], CLIENTS["curl"])))
    assert cdn is not None
    assert cdn.claims == {
        b"x-forwarded-for": b"203.0.113.7, 198.51.100.3",
        b"x-forwarded-host": b"www.example.com",
        b"x-forwarded-server": b"cache-fra-eddf8230034-FRA",
        b"fastly-client-ip": b"203.0.113.7",
    }
    assert cdn.via == b"1.1 varnish"
    ab = recognised(head(CLIENTS["ab -k"]))
    assert ab is not None
    assert (ab.is_1_0, ab.keep_alive) == (True, False)
    probe = recognised(head(CLIENTS["an old probe"]))
    assert probe is not None
    assert (probe.host, probe.lines) == (DEFAULT_HOST, b"Host: %b\r\n" % DEFAULT_HOST)
    grpc = recognised(head(CLIENTS["gRPC by Go"]))
    assert grpc is not None
    assert (grpc.te_trailers, grpc.length) == (True, CHUNKED)
    by_proxy = recognised(head(CLIENTS["curl -x"]))
    assert by_proxy is not None
    assert (by_proxy.target, by_proxy.host) == (b"/b?c=d", b"a.test")
    upload = recognised(head(CLIENTS["curl -d, a long body"]))
    assert upload is not None
    assert (upload.expects_continue, upload.length) == (True, 2_000_000)


def test_lines_that_connection_names_are_cut_and_others_stay() -> None:
    lines = [b"GET / HTTP/1.1", b"Connection: x-a, Via, Cookie,, X-B", b"Host: a", b"X-A: 1", b"Via: 1.1 p"]
    verdict = recognised(head([*lines, b"Cookie: c=d", b"X-Bc: 2", b"x-b:", b"Connection: close", b"E: f"]))
    assert verdict is not None
    assert verdict.lines == b"Host: a\r\nCookie: c=d\r\nX-Bc: 2\r\nE: f\r\n"
    assert (verdict.via, verdict.keep_alive) == (b"1.1 p", False)


@pytest.mark.parametrize("option", [b"close", b"Close, keep-alive"])
def test_a_field_with_the_name_of_close_is_cut_as_any_other(option: bytes) -> None:
    data = head((b"GET / HTTP/1.1", b"Host: a", b"Connection: " + option, b"CLOSE: 1"))
    assert recognised(data) is None
    verdict = read_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)
    assert verdict.lines == b"Host: a\r\n"


# -- mixed and mutated -------------------------------------------------------------------------------------

TWICE = (
    b"Host: b", b"Host: www.example.com", b"Content-Length: 5", b"content-length: 27",
    b"Content-Length: 5, 5", b"Transfer-Encoding: chunked", b"transfer-encoding: gzip, chunked",
    b"Transfer-Encoding:", b"Via: 1.0 x", b"via:", b"Connection: close", b"connection: Upgrade,TE , x-a",
    b"Connection:", b"Connection: via, host", b"Connection: X-Forwarded-For, user-agent,cookie",
    b"Upgrade: h2c", b"Upgrade: websocket, h2c, TLS/1.2", b"Upgrade: ,", b"TE: trailers",
    b"te: Trailers;q=1, x", b"TE: gzip, trailers ", b"Expect: 100-continue", b"expect: 100-CONTINUE ",
    b"Expect: x", b"Max-Forwards: 0", b"max-forwards: 7", b"X-Forwarded-For: 192.0.2.9",
    b"x-forwarded-for:", b"X_Forwarded_For: 1", b"X-Forwarded-Foo_Bar: 1", b"X-Forwarded-: 1",
    b"Forwarded: for=x", b"X-Request-Id: a b", b"Keep-Alive: timeout=5", b"Trailer: X-A, Host, x-b",
    b"Proxy: x", b"Close: 1", b"Content_Length: 5", b"Transfer~Encoding: chunked", b"max_forwards: 1",
    b"HTTP2-Settings: x", b"X-A: \t b \t", b"Proxy-Authenticate: x", b"Trailers: x", b"Te-X: 1",
)  # fmt: skip
STARTS = (
    b"GET / HTTP/1.0", b"POST /a HTTP/1.0", b"POST / HTTP/1.1", b"OPTIONS http://b.test HTTP/1.1",
    b"OPTIONS * HTTP/1.0", b"GET * HTTP/1.1", b"GET http://b.test:80?x=/ HTTP/1.1",
    b"GET HTTP://A.test/ HTTP/1.0", b"GET http:/// HTTP/1.1", b"GET http://u@b/ HTTP/1.1",
    b"GET https://b.test/ HTTP/1.1", b"GET http://b/#c HTTP/1.1", b"GET hello HTTP/1.1",
    b"GET http://[::1]:8080/a HTTP/1.1", b"HEAD /a HTTP/1.2",
)  # fmt: skip
BYTES = (
    b"\r\n",
    b"\n",
    b" ",
    b"\t",
    b":",
    b",",
    b"-",
    b"_",
    b"\x00",
    b"\x7f",
    b"\xe4",
    b"",
    b"a",
    b"5",
    b";",
)


@st.composite
def real_heads(draw: st.DrawFn) -> bytes:
    """A client behind up to three fronts, with lines moved, doubled, respelled, added and left out."""
    lines: Sequence[bytes] = draw(st.sampled_from(list(CLIENTS.values())))
    for front in draw(st.lists(st.sampled_from(list(FRONTS.values())), max_size=3)):
        lines = behind(front, lines)
    start, changed = lines[0], list(lines[1:])
    if draw(st.integers(0, 3)) == 3:
        start = draw(st.sampled_from(STARTS))
    for line in draw(st.lists(st.sampled_from(TWICE), max_size=3)):
        changed.insert(draw(st.integers(0, len(changed))), line)
    for change in draw(st.lists(st.sampled_from((_doubled, _left_out, _moved, _respelled)), max_size=2)):
        if changed:
            change(changed, draw(st.integers(0, len(changed) - 1)), draw(st.integers(0, 3)))
    data = head((start, *changed))
    if draw(st.integers(0, 7)) == 7:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from(BYTES)) + data[at + draw(st.integers(0, 2)) :]
    return data


def _doubled(lines: list[bytes], at: int, _how: int) -> None:
    lines.append(lines[at])


def _left_out(lines: list[bytes], at: int, _how: int) -> None:
    del lines[at]


def _moved(lines: list[bytes], at: int, how: int) -> None:
    lines.insert(how, lines.pop(at))


def _respelled(lines: list[bytes], at: int, how: int) -> None:
    name, _, value = lines[at].partition(b":")
    spelt = (name.upper(), name.lower(), name.replace(b"-", b"_"), name.replace(b"-", b".", 1))[how]
    lines[at] = spelt + (b": %b ", b":%b", b":\t%b\t", b":  %b")[how] % value.strip()


@settings(max_examples=600)
@given(real_heads())
def test_a_head_that_is_recognised_is_what_the_judge_makes_of_it(data: bytes) -> None:
    try:
        verdict = judged(data)
    except BadRequest:
        event("refused")
        assert recognised(data) is None
        return
    event("recognised" if is_recognised_as_judged(data) else "judged")
    assert slots(read_request(data, DEFAULT_HOST, TARGET_LIMIT, FIELD_LIMIT)) == slots(verdict)
