"""The request of an HTTP probe, and which responses pass or fail with which words."""

import pytest
import trio

from lb.core.health.probe_verdict import Check
from lb.http1.head_reader import INTERIM_COUNTS_AS, INTERIM_LIMITS
from lb.probes.http_probe import HEAD_LIMIT, request
from lb.probes.probe_target import ProbeTarget
from lb.settings.pool_settings import Probe
from tests.kit import OK, BlackHole, Peer, Refusing, answer, virtual_time
from tests.kit.time import EXACTLY
from tests.probes.house import CHUNKS, INTERIM, UNAVAILABLE, check_against, house, stays

pytestmark = virtual_time


async def test_a_backend_is_asked_in_full_and_left_at_once() -> None:
    async with house(path="/healthz", fields={"X-Probe": "a b"}) as there, trio.open_nursery() as nursery:
        nursery.start_soon(there.check)
        peer = await there.stand.accepts()
        asked = await peer.hears_request(b"GET /healthz HTTP/1.1")
        assert asked.fields == [
            ("Host", there.stand.address),
            ("User-Agent", "lb-probe"),
            ("X-Probe", "a b"),
            ("Connection", "close"),
        ]
        await peer.says(OK)
        await peer.hears_end()


@pytest.mark.parametrize(
    ("probe", "host", "port", "line"),
    [
        (Probe(), "127.0.0.1", 8080, "Host: 127.0.0.1:8080"),
        (Probe(), "shop.test", 80, "Host: shop.test"),
        (Probe(), "::1", 80, "Host: [::1]"),
        (Probe(), "::1", 8080, "Host: [::1]:8080"),
        (Probe(port=81), "shop.test", 80, "Host: shop.test:81"),
        (Probe(host="www.test"), "127.0.0.1", 8080, "Host: www.test"),
        (Probe(fields={"user-AGENT": "me"}), "a", 80, "user-AGENT: me"),
        (Probe(method="HEAD", path="/a?b"), "a", 80, "HEAD /a?b HTTP/1.1"),
    ],
)
async def test_the_lines_of_a_request(probe: Probe, host: str, port: int, line: str) -> None:
    lines = request(ProbeTarget(probe, host, port)).decode().split("\r\n")
    assert line in lines
    assert sum(line.lower().startswith(("host:", "user-agent:")) for line in lines) == 2
    assert lines[-3:] == ["Connection: close", "", ""]


@pytest.mark.parametrize("code", [200, 204, 302, 399])
async def test_a_status_that_is_expected_passes(code: int) -> None:
    check = await check_against(b"HTTP/1.1 %d Whatever\r\n\r\n" % code)
    assert check[:2] == (True, f"ok {code}")


async def test_the_expected_status_can_be_set() -> None:
    assert (await check_against(UNAVAILABLE, status=("200", "500-599"))).why == "ok 503"
    check = await check_against(OK, status=("201", "500-599"))
    assert check[:2] == (False, "status 200, expected 201, 500-599")


LONG = b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT
CLOSING = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (UNAVAILABLE, "status 503, expected 200-399"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101, expected 200-399"),
        (b"", "closed the connection without an answer"),
        (INTERIM, "closed the connection without an answer"),
        (b"HTTP/1.1 200 O", "closed the connection in the head of its answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP: the answer is not HTTP/1"),
        (b"HTTP/2 200 OK\r\n\r\n", "not HTTP: the answer is not HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "not HTTP: "),
        (b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "not HTTP: the head of the answer has an illegal byte"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
            "not HTTP: the answer has more than 100 fields",
        ),
        (INTERIM * (INTERIM_LIMITS * HEAD_LIMIT // INTERIM_COUNTS_AS + 1), "not HTTP: there is no end of"),
    ],
)
async def test_a_failed_probe_says_why(says: bytes, why: str) -> None:
    check = await check_against(says)
    assert not check.ok
    assert check.why.startswith(why)
    assert check.seconds == 0.0


async def test_the_length_of_a_head_is_limited() -> None:
    check = await check_against(LONG, b"x" * HEAD_LIMIT, then=stays)
    assert check.why == f"not HTTP: the head of the answer is longer than {HEAD_LIMIT} bytes"


async def test_no_reason_is_longer_than_a_line() -> None:
    check = await check_against(b"HTTP/1.1 200" + b"\xff" * 5000 + b"\r\n\r\n")
    assert check.why.startswith("not HTTP: ")
    assert len(check.why) <= 200


async def test_interim_responses_are_skipped() -> None:
    assert (await check_against(INTERIM + INTERIM + OK)).why == "ok 200"


async def test_a_refused_connection_fails_at_once() -> None:
    async with house(Refusing) as there:
        assert await there.check() == Check(False, "connection refused", 0.0, 0.0)


async def test_a_reset_and_an_end_have_different_words() -> None:
    assert (await check_against(b"HTTP/1.1 200 OK\r\n", then=Peer.resets)).why == "connection reset by peer"


async def test_no_connection_takes_exactly_the_timeout() -> None:
    async with house(BlackHole, timeout=1.5) as there:
        assert await there.check() == Check(False, "no connection in 1.5 s", 1.5, 1.5)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\nContent-", INTERIM])
async def test_no_answer_takes_exactly_the_timeout(says: bytes) -> None:
    assert await check_against(says, then=stays) == Check(False, "no answer in 2 s", 2.0, 2.0)


async def test_an_answer_just_before_the_timeout_passes() -> None:
    async with house() as there, trio.open_nursery() as nursery:

        async def serve() -> None:
            peer = await there.stand.hears()
            await trio.sleep(1.999)
            await peer.says(OK)

        nursery.start_soon(serve)
        check = await there.check()
        assert check.ok
        assert abs(check.seconds - 1.999) < EXACTLY


async def test_a_body_that_is_not_checked_is_not_waited_for() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    assert await check_against(says, then=stays) == Check(True, "ok 200", 0.0, 0.0)


@pytest.mark.parametrize(
    "says",
    [
        answer(b"we are ready"),
        CHUNKS + b"7\r\nwe are \r\n5\r\nready\r\n0\r\n\r\n",
        CLOSING + b"we are ready",
    ],
    ids=["length", "chunked", "close"],
)
async def test_a_pattern_is_looked_for_in_the_content_however_it_is_framed(says: bytes) -> None:
    assert (await check_against(says, body="are*ready")).why == "ok 200"
    check = await check_against(says, body="ready*are")
    assert check[:2] == (False, "the body has no 'ready*are'")


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", CHUNKS + b"270f\r\n", CLOSING],
    ids=["length", "chunked", "close"],
)
async def test_only_the_first_bytes_are_read_and_nothing_is_waited_for_behind_them(begin: bytes) -> None:
    check = await check_against(begin, b"12345", b"678xyz", then=stays, body="8", body_bytes=8)
    assert check == Check(True, "ok 200", 0.0, 0.0)


async def test_a_body_is_read_as_text_whatever_its_bytes() -> None:
    assert (await check_against(answer(b"\xff\xfe gr\xc3\xbcn"), body="grün")).ok


async def test_an_answer_to_head_has_no_body_to_match() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    check = await check_against(says, method="HEAD", body="ready")
    assert check.why == "the body has no 'ready'"


async def test_a_body_that_breaks_off_fails() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nready"
    check = await check_against(says, body="ready")
    assert check[:2] == (False, "closed the connection in the middle of its answer")
    check = await check_against(CHUNKS + b"5\r\nreadyy", body="ready")
    assert check[:2] == (False, "not HTTP: a chunk is longer than its size says")


async def test_a_body_that_does_not_come_takes_exactly_the_timeout() -> None:
    says = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nready"
    check = await check_against(says, then=stays, body="ready", timeout=0.7)
    assert check == Check(False, "the body did not come in 0.7 s", 0.7, 0.7)
