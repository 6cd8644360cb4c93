"""Redirects to https, HSTS, and requests that came to the wrong connection: in words, and over sockets."""

import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from lb.core.secured import Secured
from lb.errors import BadRequest
from lb.http1.head_reader import recognise_whole_request
from lb.http1.request_head import RequestHead
from lb.proxy.front_rules import FrontRules
from lb.tls.refusal import HandshakeReason
from tests.kit import GET, OK, answer, running, virtual_time
from tests.kit.certificates import CLIENT, authority, certificate
from tests.kit.client import connected
from tests.kit.handshakes import client_context
from tests.kit.wires import KINDS, among, files


class Names:
    """Names with certificates, and what each asks of clients."""

    redirects = True

    def __init__(self, **policies: str | None) -> None:
        self._policies = {name.replace("_", "."): policy for name, policy in policies.items()}

    def has_certificate(self, host: str) -> bool:
        return host in self._policies

    def policy_of(self, host: str) -> object:
        return self._policies.get(host)

    def needs_certificate(self, host: str) -> bool:
        return self.policy_of(host) == "always"


def head_of(target: str, host: str, *fields: str) -> RequestHead:
    data = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", f"Host: {host}", *fields, ""))
    found = recognise_whole_request(data.encode(), b"", 65536, 8192, 100)
    assert found is not None
    return found[0]


def secured(name: str, policy: object, certificate: bytes | None = None) -> Secured:
    return Secured(name, "TLSv1.3", "TLS_AES_128_GCM_SHA256", False, certificate, policy, False)


def is_misdirected(
    rules: FrontRules, head: RequestHead, by: Secured | None, is_trusted: bool = False
) -> bool:
    try:
        rules.judge(head, by, is_trusted)
    except BadRequest as refused:
        return refused.status == 421
    return False


@pytest.mark.parametrize(
    ("target", "host", "place"),
    [
        ("/x?y=1", "a.test", "https://a.test/x?y=1"),
        ("/", "A.test", "https://A.test/"),
        ("/", "a.test:8080", "https://a.test:8443/"),
        ("/", "b.test", None),
        ("/.well-known/acme-challenge/token", "a.test", None),
        *(
            (
                f"/.well-known/acme-challenge/{rest}",
                "a.test",
                f"https://a.test/.well-known/acme-challenge/{rest}",
            )
            for rest in ("", "../../secret", "..%2f..%2fsecret", "token/../../../secret", "token?x=y", ".;/x")
        ),
    ],
)
def test_where_a_plain_request_is_sent(target: str, host: str, place: str | None) -> None:
    rules = FrontRules(Names(a_test=None), 8443)
    found = rules.place_with_tls(head_of(target, host), is_trusted=False)
    assert found == (None if place is None else place.encode())


def test_the_usual_port_is_not_written() -> None:
    rules = FrontRules(Names(a_test=None), 443)
    assert rules.place_with_tls(head_of("/", "a.test:80"), is_trusted=False) == b"https://a.test/"


@pytest.mark.parametrize("is_trusted", [True, False])
def test_who_came_by_https_to_a_proxy_of_ours_is_not_sent_round_and_round(is_trusted: bool) -> None:
    head = head_of("/", "a.test", "X-Forwarded-Proto: https")
    place = FrontRules(Names(a_test=None), 443).place_with_tls(head, is_trusted)
    assert (place is None) is is_trusted


def test_one_connection_may_serve_hosts_that_ask_the_same() -> None:
    rules = FrontRules(Names(a_test=None, b_test=None, c_test="always"), 443)
    assert not is_misdirected(rules, head_of("/", "b.test"), secured("a.test", None))
    assert is_misdirected(rules, head_of("/", "c.test"), secured("a.test", None))
    assert is_misdirected(rules, head_of("/", "a.test"), secured("c.test", "always", b"DER"))
    assert not is_misdirected(rules, head_of("/", "c.test"), secured("c.test", "always", b"DER"))


def test_a_connection_from_before_a_host_asked_for_a_certificate_does_not_lead_there_any_more() -> None:
    rules = FrontRules(Names(a_test="always", b_test="offered"), 443)
    assert is_misdirected(rules, head_of("/", "a.test"), secured("a.test", None))
    assert is_misdirected(rules, head_of("/", "a.test"), secured("a.test", "offered"))
    assert not is_misdirected(rules, head_of("/", "b.test"), secured("b.test", None))


@pytest.mark.parametrize("host", ["a.test", "A.TEST.", "a.test:80", "a%2etest"])
@pytest.mark.parametrize(
    "target", ["/", "http://a.test/", "/.well-known/acme-challenge/../../x", "/.well-known/acme-challenge/"]
)
def test_nobody_gets_in_plain_to_a_host_that_asks_for_a_certificate(target: str, host: str) -> None:
    rules = FrontRules(Names(a_test="always", b_test="offered"), 443)
    assert is_misdirected(rules, head_of(target, host), None)
    assert not is_misdirected(rules, head_of(target.replace("a.test", "b.test"), "b.test"), None)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_but_by_a_proxy_of_ours_that_has_ended_tls_and_for_an_authority(is_trusted: bool) -> None:
    rules = FrontRules(Names(a_test="always"), 443)
    claims = head_of("/", "a.test", "X-Forwarded-Proto: https")
    assert is_misdirected(rules, claims, None, is_trusted) is not is_trusted
    assert not is_misdirected(rules, head_of("/.well-known/acme-challenge/token", "a.test"), None, is_trusted)


LOCALHOST = b"GET / HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"
TLS: dict[str, Any] = {"listen": ["127.0.0.1:0", "https://127.0.0.1:0"]}


def with_tls(**more: Any) -> dict[str, Any]:
    return {**TLS, "tls": {"certificates": [{"chain": files().chain, "key": files().key}], **more}}


@virtual_time
async def test_a_plain_request_is_sent_to_https_and_the_connection_stays() -> None:
    async with running(**with_tls()) as lb:
        plain, secure = (int(name.rpartition(":")[2]) for name in lb.balancer.control.listening)
        client = await lb.client()
        for _ in range(2):
            await client.says(LOCALHOST % plain)
            response = await client.hears(308)
            assert response["Location"] == f"https://localhost:{secure}/"
        assert lb.exchange.status == 308
        assert lb.reason is None
        await client.says(GET.replace(b"Host: a", b"Host: b"))  # nobody has a certificate for it
        peer = await lb.backend.hears()
        await peer.says(OK)
        await client.hears(200)


@virtual_time
async def test_without_the_setting_it_is_served() -> None:
    async with running(**with_tls(redirect=False)) as lb:
        client = await lb.asks(LOCALHOST % 80)
        peer = await lb.backend.hears()
        await peer.says(OK)
        await client.hears(200)


@virtual_time
@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (OK, b"\r\nstrict-transport-security: max-age=31536000\r\n"),
        (answer(b"ok", "Strict-Transport-Security: x"), b"\r\nstrict-transport-security: x\r\n"),
    ],
)
async def test_browsers_are_told_to_stay_with_tls(said: bytes, heard: bytes) -> None:
    with among(KINDS["TLS"]):
        async with running(tls={"hsts": 31536000}) as lb:
            client = await lb.asks(GET)
            peer = await lb.backend.hears()
            await peer.says(said)
            assert (await client.hears(200)).head.lower().count(heard) == 1


@virtual_time
async def test_who_has_no_certificate_does_not_walk_in(tmp_path: Path) -> None:
    """Neither with the handshake of another host, nor with a session of it."""
    ca = authority()
    chain, key = certificate("open.test", "strict.test", by=ca).write(tmp_path)
    (tmp_path / "ca.pem").write_text(ca.pem)
    clients = [{"hosts": ["strict.test"], "ca": str(tmp_path / "ca.pem")}]
    config: dict[str, Any] = {
        "listen": ["https://127.0.0.1:0"],
        "tls": {"certificates": [{"chain": chain, "key": key}], "clients": clients},
    }
    async with running(**config) as lb:
        address = lb.balancer.control.listening[0]
        client = await connected(address, ca=str(tmp_path / "ca.pem"), name="open.test")
        lb.clients.append(client)
        await client.says(GET.replace(b"Host: a", b"Host: strict.test"))
        await client.hears(421)
        assert not lb.backend.peers
        refused = await connected(address, ca=str(tmp_path / "ca.pem"), name="strict.test")
        lb.clients.append(refused)
        with suppress(OSError):
            await refused.says(GET.replace(b"Host: a", b"Host: strict.test"))
        assert (await refused.hears_all())[1] == "reset"
        assert not lb.backend.peers


@virtual_time
@pytest.mark.parametrize("redirect", [True, False])
@pytest.mark.parametrize("hosts", [["localhost"], []])
async def test_a_plain_listener_is_no_way_around_the_certificate(redirect: bool, hosts: list[str]) -> None:
    """Not by a path that begins like that of a challenge, and not for a name without a certificate."""
    async with running(**with_tls(redirect=redirect, clients=[{"hosts": hosts, "ca": files().ca}])) as lb:
        heads = [b"GET /.well-known/acme-challenge/../../x HTTP/1.1\r\nHost: localhost\r\n\r\n"]
        heads += [] if hosts else [b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n"]
        for head in heads:
            client = await lb.asks(head)
            await client.hears(308 if redirect and b"localhost" in head else 421)
        assert not lb.backend.peers


async def test_a_session_ends_with_the_certificate_that_it_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In TLS 1.2 clients may take it up for two hours, and OpenSSL does not look at the days again."""
    root, began, passed = authority(), time.time, 0.0
    (tmp_path / "ca.pem").write_text(root.pem)
    chain, key = certificate("strict.test", by=root).write(tmp_path)
    monkeypatch.setattr(time, "time", lambda: began() + passed)
    context = client_context(root.pem, (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2))
    mine = certificate("me", by=root, usages=(CLIENT,), valid=(began() - 60, began() + 600))
    context.load_cert_chain(*mine.write(tmp_path, "me"))
    config: dict[str, Any] = {
        "listen": ["https://127.0.0.1:0"],
        "tls": {
            "certificates": [{"chain": chain, "key": key}],
            "clients": [{"ca": str(tmp_path / "ca.pem")}],
        },
    }
    async with running(**config) as lb:
        address = lb.balancer.control.listening[0]
        session = await trio.to_thread.run_sync(session_after_an_end, address, context, None)
        assert session is not None
        await trio.to_thread.run_sync(session_after_an_end, address, context, session)
        termination = lb.balancer.traffic.termination
        assert termination is not None
        assert not [*termination.handshakes.last()]
        passed = 601.0
        await trio.to_thread.run_sync(session_after_an_end, address, context, session)
        [refusal] = termination.handshakes.last()
        assert refusal.reason is HandshakeReason.CLIENT_CERTIFICATE_REFUSED
        assert refusal.sentence.endswith("is not good: certificate has expired, and its session with it.")
        done = {(version, is_resumed) for _, version, is_resumed in termination.handshakes.done}
        assert done == {("TLSv1.2", False), ("TLSv1.2", True)}


def session_after_an_end(
    address: str, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    """Shake hands, by this session where there is one, and wait until the balancer ends the connection."""
    host, _, port = address.rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=10)
    with context.wrap_socket(plain, server_hostname="strict.test", session=session) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")  # which lacks a Host
        with suppress(OSError):
            while tls.recv(4096):
                """Its answer, if there is one."""
        return tls.session
