"""Refused handshakes: each is produced, and has its reason and a sentence that says what was the matter."""

import ssl
from collections.abc import Callable

import msgspec
import pytest

from lb.tls.certificate import Certificate, load_certificate
from lb.tls.client_hello import ClientHello, HelloRefused, read_client_hello
from lb.tls.contexts import server_context, show
from lb.tls.pem_files import PemFile
from lb.tls.refusal import (
    BY_OPENSSL,
    HELP,
    MOST_SHOWN,
    SENTENCES,
    HandshakeReason,
    Known,
    Refusal,
    cipher_names,
    reason_of,
    refusal,
    refused,
    version_name,
)
from tests.kit.certificates import CLIENT, DAY, NOW, Issued, authority, certificate
from tests.kit.handshakes import client_context

R = HandshakeReason
ROOT = authority()
OTHER_ROOT = authority("Other Root")
SERVED = certificate("a.test", "b.test", "c.test", "d.test", by=ROOT, valid=(NOW - DAY, NOW + DAY * 36500))
TLS_1_1, TLS_1_2 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2
HELLO = ClientHello("a.test", (b"h2", b"http/1.1"), (0x0304, 0x0303), b"\x13\x01\xc0\x2b")


def facts(issued: Issued = SERVED) -> Certificate:
    file = PemFile("a.pem", (issued.chain + issued.key_pem).encode(), 0o600)
    return load_certificate("a.pem", None, lambda _path: file).certificate


def known(hello: ClientHello | None = HELLO, certificate: Certificate | None = None) -> Known:
    return Known(at=NOW, peer="192.0.2.1:5000", listener=":443", hello=hello, certificate=certificate)


def serving(authorities: str | None = None, issued: Issued = SERVED) -> ssl.SSLContext:
    context = server_context(authorities=authorities)
    show(context, (issued.chain + issued.key_pem).encode())
    return context


def showing(issued: Issued) -> ssl.SSLContext:
    context = client_context()
    show(context, (issued.chain + issued.key_pem).encode())
    return context


def old_client() -> ssl.SSLContext:
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = TLS_1_1
    return context


def with_ciphers(names: str) -> ssl.SSLContext:
    context = client_context(versions=(TLS_1_2, TLS_1_2))
    context.set_ciphers(names)
    return context


def server_says(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> ssl.SSLError:
    """The error of the server's side. In TLS 1.3 it may come with the first read."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for step in (ours.do_handshake, theirs.do_handshake):
            try:
                step()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as exc:
                if step == theirs.do_handshake:
                    return exc
    try:
        theirs.read(1)
    except ssl.SSLError as exc:
        return exc
    raise AssertionError("nobody refused")


@pytest.mark.parametrize(
    ("client", "server", "name", "reason", "says"),
    [
        (
            lambda: client_context(OTHER_ROOT.pem),
            serving,
            "a.test",
            R.CLIENT_DISTRUSTS_US,
            "does not trust CN=Test Root, the issuer of our certificate for a.test, b.test, c.test and 1 "
            "more; certificates sent: 1.",
        ),
        (
            lambda: client_context(ROOT.pem),
            lambda: serving(issued=certificate("b.test", by=ROOT)),
            "a.test",
            R.CLIENT_REFUSED_CERTIFICATE,
            "The client asked for a.test and refused our certificate, which is for a.test, b.test",
        ),
        (
            lambda: client_context(ROOT.pem),
            lambda: serving(issued=certificate("a.test", by=ROOT, valid=(0, 1))),
            "a.test",
            R.CLIENT_REFUSED_CERTIFICATE,
            "It said: sslv3 alert certificate expired",
        ),
        (
            old_client,
            serving,
            "a.test",
            R.NO_COMMON_VERSION,
            "at most, and we take TLS 1.2 and newer.",
        ),
        (
            lambda: with_ciphers("AES128-SHA"),
            serving,
            "a.test",
            R.NO_COMMON_CIPHER,
            "that we take, or none for our EC certificate: ",
        ),
        (
            client_context,
            lambda: serving(ROOT.pem),
            "a.test",
            R.CLIENT_CERTIFICATE_MISSING,
            "For a.test a client has to show a certificate, and this one showed none.",
        ),
        (
            lambda: showing(certificate("me", by=OTHER_ROOT, usages=(CLIENT,))),
            lambda: serving(ROOT.pem),
            "a.test",
            R.CLIENT_CERTIFICATE_REFUSED,
            "is not good: unable to get local issuer certificate.",
        ),
        (
            lambda: showing(certificate("me", by=ROOT, usages=(CLIENT,), valid=(0, 1))),
            lambda: serving(ROOT.pem),
            "a.test",
            R.CLIENT_CERTIFICATE_REFUSED,
            "is not good: certificate has expired.",
        ),
    ],
)
def test_a_refusal_by_openssl(
    client: Callable[[], ssl.SSLContext],
    server: Callable[[], ssl.SSLContext],
    name: str,
    reason: HandshakeReason,
    says: str,
) -> None:
    found = refused(known(certificate=facts()), server_says(client(), server(), name))
    assert found.reason is reason
    assert says in found.sentence


def hello_error(data: bytes) -> HelloRefused:
    with pytest.raises(HelloRefused) as caught:
        read_client_hello(data)
    return caught.value


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"GET / HTTP/1.1\r\n", R.PLAIN_HTTP, "The client speaks plain HTTP, and this port speaks TLS."),
        (b"SSH-2.0-OpenSSH", R.NOT_TLS, "The first bytes are no TLS."),
        (b"\x16\x03\x01\0\0", R.BROKEN, "breaks the rules of TLS: a record of kind 22 and 0 bytes"),
    ],
)
def test_a_refusal_of_the_first_bytes(data: bytes, reason: HandshakeReason, says: str) -> None:
    found = refused(known(hello=None), hello_error(data))
    assert found.reason is reason
    assert says in found.sentence
    assert (found.server_name, found.versions, found.protocols, found.ciphers) == ("", (), (), ())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ssl.SSLEOFError(8, "EOF"), R.HUNG_UP),
        (ConnectionResetError(), R.HUNG_UP),
        (BrokenPipeError(), R.HUNG_UP),
        (TimeoutError(), R.TOO_SLOW),
        (ssl.SSLError(1, "something new"), R.BROKEN),
        (ValueError("?"), R.BROKEN),
    ],
)
def test_the_reason_of_an_error(error: BaseException, reason: HandshakeReason) -> None:
    assert reason_of(error) is reason


@pytest.mark.parametrize(
    ("reason", "hello", "says"),
    [
        (R.UNKNOWN_NAME, HELLO, "There is no certificate for a.test."),
        (R.UNKNOWN_NAME, ClientHello("", (), (0x0303,), b""), "names no server"),
        (R.HUNG_UP, None, "closed the connection before it had said what it wants."),
        (R.HUNG_UP, HELLO, "closed the connection in the middle of the handshake."),
        (R.TOO_SLOW, None, "Nothing that is a whole ClientHello came in time."),
        (R.TOO_SLOW, HELLO, "The handshake did not end in time."),
        (R.TOO_MANY, None, "Too many handshakes had begun and not ended."),
        (R.CLIENT_DISTRUSTS_US, HELLO, "does not trust who issued our certificate."),
        (R.CLIENT_REFUSED_CERTIFICATE, None, "asked for no name and refused our certificate."),
        (R.NO_COMMON_VERSION, ClientHello("", (), (0x0301, 0x0302), b""), "offers TLS 1.1 at most"),
        (R.NO_COMMON_VERSION, ClientHello("", (), (), b""), "offers no version"),
        (
            R.NO_COMMON_CIPHER,
            ClientHello("", (), (), b"\0\5\0\12\0\1\0\2\0\3\0\4"),
            "RC4-SHA, DES-CBC3-SHA, ",
        ),
    ],
)
def test_the_sentence_of_a_reason(reason: HandshakeReason, hello: ClientHello | None, says: str) -> None:
    assert says in refusal(known(hello), reason).sentence


def test_a_name_that_is_none_is_shown() -> None:
    name = b"a b"
    body = (
        b"\0\0\0"
        + bytes([5 + len(name)])
        + (3 + len(name)).to_bytes(2, "big")
        + b"\0\0"
        + bytes([len(name)])
        + name
    )
    hello = b"\x03\x03" + bytes(33) + b"\0\2\x13\1\1\0" + len(body).to_bytes(2, "big") + body
    message = b"\1" + len(hello).to_bytes(3, "big") + hello
    found = refused(known(None), hello_error(b"\x16\3\1" + len(message).to_bytes(2, "big") + message))
    assert found.reason is R.UNKNOWN_NAME
    assert found.sentence.endswith("the server name 'a b' is no DNS name.")


def test_a_chain_that_is_not_whole_is_the_likely_cause() -> None:
    below = authority("Test Intermediate", ROOT)
    leaf = certificate("a.test", by=below, says_issuer=True)
    alone = facts(Issued(leaf.certificate, leaf.key))
    found = refusal(known(certificate=alone), R.CLIENT_DISTRUSTS_US)
    assert "certificates sent: 1, and the chain is not whole." in found.sentence


def test_what_was_offered() -> None:
    found = refusal(known(), R.UNKNOWN_NAME)
    assert found == Refusal(
        at=NOW,
        peer="192.0.2.1:5000",
        listener=":443",
        server_name="a.test",
        versions=("TLS 1.3", "TLS 1.2"),
        protocols=("h2", "http/1.1"),
        ciphers=("TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        reason=R.UNKNOWN_NAME,
        sentence="There is no certificate for a.test.",
        help=HELP[R.UNKNOWN_NAME],
    )
    assert msgspec.to_builtins(found)["reason"] == "unknown_name"


def test_offers_are_kept_up_to_a_bound() -> None:
    many = ClientHello("a.test", (b"\xff" * 255,) * 90, tuple(range(90)), bytes(range(256)) * 4)
    found = refusal(known(many), R.BROKEN)
    assert [len(found.versions), len(found.protocols), len(found.ciphers)] == [MOST_SHOWN] * 3
    assert found.protocols[0] == "\\xff" * 40


def test_names_of_numbers() -> None:
    assert version_name(0x0300) == "SSL 3"
    assert version_name(0x7F1C) == "0x7f1c"
    assert cipher_names([0x00FF, 0x5600, 0x0005, 0x9999]) == ["RC4-SHA", "0x9999"]


def test_every_reason_has_its_sentence_and_its_help() -> None:
    assert SENTENCES.keys() == HELP.keys() == {*HandshakeReason}
    assert {*BY_OPENSSL.values()} <= {*HandshakeReason}
