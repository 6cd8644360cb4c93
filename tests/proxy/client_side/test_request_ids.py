"""X-Request-Id of responses: where it is wished, each has the one that log and record have, and no other."""

import re

import pytest

import lb
from lb.net.wire import Wire
from tests.kit import GET, OK, Scene, answer, running, virtual_time

pytestmark = virtual_time

OWN = answer(b"ok", "x-request-id: theirs", "A: b")
CHUNKED = b"HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"


def ids(head: bytes) -> list[bytes]:
    return re.findall(rb"^x-request-id: *([^\r]*)\r$", head, re.IGNORECASE | re.MULTILINE)


def own(scene: Scene) -> bytes:
    return scene.exchange.id


@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize("response", [OK, OWN, CHUNKED])
@pytest.mark.parametrize("request_", [GET, OLD])
async def test_a_response_has_the_id_of_the_record(
    request_: bytes, response: bytes, is_watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wire, "can_be_watched", is_watched)
    async with running(request_id_in_responses=True) as scene, scene.backend.answering(response):
        for _ in range(2):
            client = await scene.asks(request_)
            heard = await client.hears(200)
            assert heard.body == b"ok"
            assert ids(heard.head) == [own(scene)]
            assert (b"\r\nA: b\r\n" in heard.head) is (response is OWN)


@pytest.mark.parametrize(("response", "told"), [(OK, []), (OWN, [b"theirs"])])
async def test_without_the_setting_it_is_as_the_backend_says(response: bytes, told: list[bytes]) -> None:
    async with running() as scene, scene.backend.answering(response):
        assert ids((await (await scene.asks(GET)).hears(200)).head) == told


async def test_a_trusted_proxys_id_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(request_id_in_responses=True, trusted_proxies=["127.0.0.0/8"]) as scene:
        async with scene.backend.answering(OK):
            client = await scene.asks(GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: edge-7\r\n\r\n"))
            assert ids((await client.hears(200)).head) == [b"edge-7"]


async def test_a_switch_of_protocols_has_one() -> None:
    async with running(request_id_in_responses=True) as scene:
        client = await scene.asks(UPGRADE)
        peer = await scene.backend.hears()
        await peer.says(SWITCHED)
        assert len(ids((await client.hears(101)).head)) == 1
        client.closes()
        peer.closes()


@pytest.mark.parametrize("is_told", [True, False])
async def test_answers_of_our_own_have_one(is_told: bool) -> None:
    async with running(request_id_in_responses=is_told) as scene:
        client = await scene.asks(OPTIONS)
        assert ids((await client.hears(204)).head) == ([own(scene)] if is_told else [])
        client = await scene.asks(b"GET / HTTP/1.1\r\n\r\n")
        assert ids((await client.hears(400)).head) == [own(scene)]


async def test_a_reload_changes_it() -> None:
    async with running() as scene, scene.backend.answering(OK):
        client = await scene.asks(GET)
        assert ids((await client.hears(200)).head) == []
        scene.context.configure(lb.build({"request_id_in_responses": True}))
        await client.says(GET)
        assert ids((await client.hears(200)).head) == [own(scene)]
