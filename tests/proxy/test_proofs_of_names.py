"""Certificate authorities ask a whole balancer: over plain HTTP, over https, and by a handshake."""

import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from lb.acme.answers import AlpnAnswer, HttpAnswer
from lb.acme.storage import Origin, Pair, Storage
from lb.core.renewal import Failures
from tests.kit import GET, OK, running
from tests.kit.balancer import Scene
from tests.kit.certificates import authority, certificate
from tests.kit.client import connected

ROOT = authority()
WWW, SHOP = "www.example.com", "shop.example.com"
TOKEN = "token-with-enough-letters"
ASK = b"GET /.well-known/acme-challenge/%b HTTP/1.1\r\nHost: %b\r\n\r\n"
DIRECTORY = "https://127.0.0.1:1/directory"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """WWW has a certificate that is good for long, SHOP none; its next attempt is far away."""
    made = Storage(tmp_path / "acme")
    made.prepare()
    www = certificate(WWW, by=ROOT)
    made.keep_certificate(WWW, Pair(www.chain.encode(), www.key_pem.encode()), Origin())
    later = Failures(times=(time.time(),), in_a_row=1, again_at=time.time() + 1e5, why="port 80 is closed")
    made.keep_failures(SHOP, later)
    return made


def config(storage: Storage, challenge: str = "http-01") -> dict[str, Any]:
    acme = {"names": [WWW, SHOP], "storage": str(storage.folder), "directory": DIRECTORY}
    tls = {"acme": {**acme, "challenge": challenge, "terms_agreed": True}}
    return {"listen": ["127.0.0.1:0", "https://127.0.0.1:0"], "tls": tls}


def secure(lb: Scene) -> tuple[str, int]:
    host, _, port = lb.balancer.control.listening[1].rpartition(":")
    return host, int(port)


async def test_a_proof_goes_before_routes_and_redirects(storage: Storage) -> None:
    storage.keep_http_answer(TOKEN, HttpAnswer(name=WWW, body="the proof"))
    async with running(**config(storage)) as lb:
        client = await lb.client()
        for _ in range(2):  # the connection stays
            await client.says(ASK % (TOKEN.encode(), WWW.encode()))
            response = await client.hears(200)
            assert response.body == b"the proof"
        await client.says(GET.replace(b"Host: a", b"Host: " + WWW.encode()))
        await client.hears(308)
        assert not lb.backend.peers


async def test_an_authority_that_was_sent_to_https_gets_its_proof_too(
    storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    storage.keep_http_answer(TOKEN, HttpAnswer(name=WWW, body="the proof"))
    async with running(**config(storage)) as lb:
        address = lb.balancer.control.listening[1]
        client = await connected(address, ca=str(tmp_path / "ca.pem"), name=WWW)
        lb.clients.append(client)
        await client.says(ASK % (TOKEN.encode(), WWW.encode()))
        assert (await client.hears(200)).body == b"the proof"


@pytest.mark.parametrize(
    ("token", "host"),
    [(TOKEN, SHOP), ("another-token-of-enough", WWW), ("..%2f..%2fcertificates", SHOP), ("", SHOP)],
)
async def test_what_is_not_ours_goes_to_the_backends(storage: Storage, token: str, host: str) -> None:
    """Another balancer, or certbot, may answer there."""
    storage.keep_http_answer(TOKEN, HttpAnswer(name=WWW, body="the proof"))
    async with running(**config(storage)) as lb:
        await lb.asks(ASK % (token.encode(), host.encode()))
        peer = await lb.backend.hears()
        await peer.says(OK)
        await lb.clients[0].hears(200)


async def test_only_get_is_answered(storage: Storage) -> None:
    storage.keep_http_answer(TOKEN, HttpAnswer(name=WWW, body="the proof"))
    async with running(**config(storage)) as lb:
        await lb.asks((ASK % (TOKEN.encode(), WWW.encode())).replace(b"GET", b"DELETE"))
        peer = await lb.backend.hears()
        await peer.says(OK)
        await lb.clients[0].hears(200)


def unverified(*protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


async def shakes_hands(lb: Scene, name: str, *protocols: str) -> trio.SSLStream[trio.SocketStream]:
    plain = await trio.open_tcp_stream(*secure(lb))
    stream = trio.SSLStream(plain, unverified(*protocols), server_hostname=name)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def test_a_handshake_proves_a_name_and_nothing_follows_it(storage: Storage) -> None:
    proof = certificate(SHOP)
    storage.keep_alpn_answer(SHOP, AlpnAnswer(chain=proof.chain, key=proof.key_pem))
    async with running(**config(storage, "tls-alpn-01")) as lb:
        async with await shakes_hands(lb, SHOP, "acme-tls/1") as stream:
            assert stream.selected_alpn_protocol() == "acme-tls/1"
            shown = stream.getpeercert(binary_form=True)
            assert shown is not None
            assert ssl.DER_cert_to_PEM_cert(shown) == proof.pem
            assert await stream.receive_some() == b""
        async with await shakes_hands(lb, WWW, "acme-tls/1", "http/1.1") as client:
            assert client.selected_alpn_protocol() == "http/1.1"
        assert not lb.balancer.metrics.listener(lb.balancer.control.listening[1]).in_flight


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [
        (
            "http/1.1",
            f"There is no certificate for {SHOP} yet: it is being ordered, and the last attempt failed: "
            "port 80 is closed.",
        ),
        ("acme-tls/1", f"There is no certificate for {SHOP} yet: no challenge of it is open."),
    ],
)
async def test_who_comes_too_early_is_refused_with_the_reason(
    storage: Storage, protocol: str, sentence: str
) -> None:
    async with running(**config(storage)) as lb:
        with pytest.raises(trio.BrokenResourceError) as refused:
            await shakes_hands(lb, SHOP, protocol)
        assert "UNRECOGNIZED_NAME" in str(refused.value.__cause__)
        termination = lb.balancer.traffic.termination
        assert termination is not None
        [refusal] = termination.handshakes.last()
        assert (refusal.reason, refusal.sentence) == ("unknown_name", sentence)
        assert refusal.help.startswith("Wait for the order")


async def test_a_name_that_nobody_wants_is_refused_as_ever(storage: Storage) -> None:
    async with running(**config(storage)) as lb:
        with pytest.raises(trio.BrokenResourceError):
            await shakes_hands(lb, "other.example.com", "http/1.1")
        termination = lb.balancer.traffic.termination
        assert termination is not None
        [refusal] = termination.handshakes.last()
        assert refusal.sentence == "There is no certificate for other.example.com."
        assert refusal.help.startswith("Add a certificate")
