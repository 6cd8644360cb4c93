"""What the field Keep-Alive of a response says."""

import pytest

from lb.http1.fast_head import plain_response, read_response
from lb.http1.keep_alive import LONGEST, KeepAlive, keep_alive_in
from lb.http1.response_head import judge_response


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([b"timeout=5"], KeepAlive(5, None)),
        ([b"timeout=5, max=100"], KeepAlive(5, 100)),
        ([b"max=100,timeout=5"], KeepAlive(5, 100)),
        ([b" Timeout = 5 ,\tMAX=0 "], KeepAlive(5, 0)),
        ([b'timeout="5"'], KeepAlive(5, None)),
        ([b"timeout=5", b"max=3"], KeepAlive(5, 3)),
        ([b"foo=1, timeout=5"], KeepAlive(5, None)),
        ([], None),
        ([b""], None),
        ([b"300"], None),
        ([b"timeout"], None),
        ([b"timeout=-1"], None),
        ([b"timeout=1.5"], None),
        ([b"timeout=5s"], None),
        ([b"xtimeout=5"], None),
        ([b"timeout=1234567890"], None),
        ([b"timeout=5" + b" " * (LONGEST - 9)], KeepAlive(5, None)),
        ([b"timeout=5" + b" " * (LONGEST - 8)], None),
        ([b"timeout=5", b"," * LONGEST], None),
    ],
)
def test_what_it_says(values: list[bytes], says: KeepAlive | None) -> None:
    assert keep_alive_in(values) == says


HEAD = b"HTTP/1.1 200 OK\r\nA: 1\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
HEAD += b"Content-Length: 0\r\nB: 2\r\n\r\n"


def test_a_head_with_it_is_read_the_fast_way_and_as_the_judge_does() -> None:
    plain, judged = plain_response(HEAD, b"GET", 100), judge_response(HEAD, b"GET", 100)
    assert plain is not None
    assert plain.offer == judged.offer == KeepAlive(5, None)
    assert plain.lines == judged.lines == b"A: 1\r\nB: 2\r\n"


@pytest.mark.parametrize("line", [b"Keep-Alive: 300", b"Keep-Alive: timeout=1\r\nKeep-Alive: timeout=2"])
def test_what_is_unusual_is_for_the_judge(line: bytes) -> None:
    data = HEAD.replace(b"Keep-Alive: timeout=5", line)
    assert plain_response(data, b"GET", 100) is None
    assert read_response(data, b"GET", 100).lines == b"A: 1\r\nB: 2\r\n"
