"""What comes in place of a request: it is recognised, named, and never taken for one."""

import pytest

from lb.errors import BadRequest
from lb.http1.request_line import OTHER_PROTOCOLS, SHOWN_BYTES, as_asked, read_request_line, refuse_line_begun

TLS = bytes.fromhex("16030100f8010000f40303") + b"\r\n\x00\xff" * 20


@pytest.mark.parametrize(
    ("data", "status", "named"),
    [
        (TLS, 400, "TLS"),
        (b"\x16\x03", 400, "TLS"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n", 400, "PROXY protocol"),
        (b"PROXY TCP6 ::1 ::1 1 2\r\n", 400, "PROXY protocol"),
        (b"PROXY UNKNOWN\r\n", 400, "PROXY protocol"),
        (b"\x00\r\nQUIT\n\x21\x11\x00\x0c", 400, "PROXY protocol"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 400, "SSH"),
        (b"EHLO a.test\r\n", 400, "SMTP"),
        (b"*1\r\n$4\r\nPING\r\n", 400, "Redis"),
        (b"\x03\x00\x00\x13", 400, "RDP"),
        (b"\x04\x01\x00\x50", 400, "SOCKS 4"),
        (b"\x05\x01\x00", 400, "SOCKS 5"),
    ],
)
def test_f5_15_another_protocol_is_named(data: bytes, status: int, named: str) -> None:
    with pytest.raises(BadRequest, match=named) as caught:
        refuse_line_begun(data, 100)
    assert caught.value.status == status


@pytest.mark.parametrize("beginning", OTHER_PROTOCOLS)
def test_no_valid_request_begins_like_another_protocol(beginning: bytes) -> None:
    for rest in (b" / HTTP/1.1\r\n", b"/ HTTP/1.1\r\n", b" HTTP/1.1\r\n"):
        with pytest.raises(BadRequest):
            read_request_line(beginning + rest, 100)


@pytest.mark.parametrize("line", [b"PROXY / HTTP/1.1\r\n", b"PRI / HTTP/1.1\r\n", b"EHLOX / HTTP/1.1\r\n"])
def test_a_method_of_that_name_is_one(line: bytes) -> None:
    assert read_request_line(line, 100) == (line.split(b" ")[0], b"/", False)


@pytest.mark.parametrize(
    "line", [b"", b"G", b"GET", b"GET ", b"GET /", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r"]
)
def test_a_line_that_may_become_one_is_waited_for(line: bytes) -> None:
    refuse_line_begun(line, 100)


def test_what_is_shown_of_a_line_that_is_none_is_short() -> None:
    assert len(as_asked(TLS * 10)[1]) <= SHOWN_BYTES
    assert as_asked(b"A" * 33 + b" / HTTP/1.1\r\n") == (b"", b"A" * 33 + b" / HTTP/1.1")
