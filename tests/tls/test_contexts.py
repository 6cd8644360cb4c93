"""Contexts: what they take, what they refuse, and what the defaults of Python would have let through."""

import ssl
from pathlib import Path

import pytest

from lb.tls.contexts import INTERMEDIATE, Need, backend_context, server_context, show, spoken
from tests.kit.certificates import CLIENT, Issued, authority, certificate, new_key, rsa_key
from tests.kit.handshakes import client_context, handshake

ROOT = authority()
OTHER_ROOT = authority("Other Root")
SERVED = certificate("a.test", by=ROOT)
MINE = certificate("me", by=ROOT, usages=(CLIENT,))
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def pem(issued: Issued) -> bytes:
    return (issued.chain + issued.key_pem).encode()


def serving(issued: Issued = SERVED, **options: object) -> ssl.SSLContext:
    context = server_context(**options)  # type: ignore[arg-type]
    show(context, pem(issued))
    return context


def showing(issued: Issued, versions: tuple[ssl.TLSVersion, ssl.TLSVersion]) -> ssl.SSLContext:
    context = client_context(ROOT.pem, versions)
    show(context, pem(issued))
    return context


@pytest.mark.parametrize(("version", "name"), [(TLS_1_2, "TLSv1.2"), (TLS_1_3, "TLSv1.3")])
def test_intermediate_takes_1_2_and_1_3(version: ssl.TLSVersion, name: str) -> None:
    ended = handshake(client_context(ROOT.pem, (version, version)), serving())
    assert ended.server.version() == name
    assert ended.server.compression() is None
    assert ended.says(b"good day") == b"good day"


def test_modern_takes_1_3_alone() -> None:
    server = serving(versions=("1.3",))
    assert handshake(client_context(ROOT.pem), server).server.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        handshake(client_context(ROOT.pem, (TLS_1_2, TLS_1_2)), server)
    assert (spoken(server), spoken(serving())) == ("TLS 1.3 and newer", "TLS 1.2 and newer")


def test_1_2_alone_can_be_had() -> None:
    server = serving(versions=("1.2",))
    assert handshake(client_context(ROOT.pem), server).server.version() == "TLSv1.2"
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        handshake(client_context(ROOT.pem, (TLS_1_3, TLS_1_3)), server)


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        (("1.2", "1.3"), "TLS 1.2 and newer"),
        (("1.3",), "TLS 1.3 and newer"),
        (("1.2",), "TLS 1.2 alone"),
    ],
)
def test_what_is_spoken_is_said_in_words(versions: tuple[str, ...], words: str) -> None:
    assert spoken(server_context(versions)) == words


def test_the_suites_are_mozillas() -> None:
    names = {cipher["name"] for cipher in server_context().get_ciphers()}
    assert {name for name in names if not name.startswith("TLS_")} == {*INTERMEDIATE.split(":")}
    client = client_context(ROOT.pem, (TLS_1_2, TLS_1_2))
    client.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-SHA")
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        handshake(client, serving())


def test_protocols() -> None:
    server = serving(protocols=("h2", "http/1.1"))
    for offered, taken in (
        (("http/1.1", "h2"), "h2"),
        (("http/1.1",), "http/1.1"),
        (("spdy",), None),
        ((), None),
    ):
        ended = handshake(client_context(ROOT.pem, protocols=offered), server)
        assert ended.server.selected_alpn_protocol() == taken


@pytest.mark.parametrize("need", ["always", "offered"])
def test_no_session_stands_for_the_certificate_of_a_client(need: Need) -> None:
    """It might have ended or been replaced meanwhile. In TLS 1.2 there are sessions all the same."""
    server = serving(authorities=ROOT.pem, need=need)
    for versions, is_kept in (((TLS_1_3, TLS_1_3), False), ((TLS_1_2, TLS_1_2), True)):
        ended = handshake(showing(MINE, versions), server)
        ended.says()
        session = ended.client.session
        assert (session is not None and session.has_ticket) is is_kept
    ended = handshake(client_context(ROOT.pem), serving())
    ended.says()
    assert ended.client.session is not None
    assert ended.client.session.has_ticket, "where nothing is asked of clients"


def test_options() -> None:
    for context in (server_context(), backend_context()):
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        assert not context.options & ssl.OP_IGNORE_UNEXPECTED_EOF


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_an_end_without_close_notify_is_no_end(version: ssl.TLSVersion) -> None:
    client = client_context(ROOT.pem, (version, version))
    ended = handshake(client, serving())
    ended.to_server.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        ended.server.read(100)
    ours = backend_context(ROOT.pem)
    ours.maximum_version = version
    ended = handshake(ours, serving())
    assert ended.says() == b"hello"
    ended.to_client.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        ended.client.read(100)


def test_a_chain_of_each_type_of_key() -> None:
    both = certificate("a.test", by=ROOT, key=rsa_key(2048))
    server = serving()
    show(server, pem(both))
    client = client_context(ROOT.pem, (TLS_1_2, TLS_1_2))
    for suites, issued in (("ECDHE-RSA-AES128-GCM-SHA256", both), ("ECDHE-ECDSA-AES128-GCM-SHA256", SERVED)):
        client.set_ciphers(suites)
        assert handshake(client, server).shown == ssl.PEM_cert_to_DER_cert(issued.pem)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_tickets_survive_another_certificate_on_the_same_context(version: ssl.TLSVersion) -> None:
    client, server = client_context(ROOT.pem, (version, version)), serving()
    first = handshake(client, server)
    first.says()
    renewed = certificate("a.test", by=ROOT)
    show(server, pem(renewed))
    again = handshake(client, server, session=first.client.session)
    assert again.client.session_reused
    assert handshake(client, server).shown == ssl.PEM_cert_to_DER_cert(renewed.pem)
    assert not handshake(client, serving(renewed), session=first.client.session).client.session_reused


@pytest.mark.parametrize("key", [new_key(), new_key("Ed25519")])
def test_a_key_that_does_not_fit_is_refused(key: object) -> None:
    with pytest.raises(ssl.SSLError):
        show(server_context(), (SERVED.pem + certificate("b.test", by=ROOT).key_pem).encode())


def test_a_locked_key_is_refused_without_a_question() -> None:
    with pytest.raises(ssl.SSLError):
        show(server_context(), (SERVED.pem + SERVED.locked_key_pem).encode())


def test_no_file_is_left_behind(tmp_path: Path) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    serving()
    assert sorted(Path("/proc/self/fd").iterdir()) == before


# -- certificates of clients -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("need", ["always", "offered"])
def test_a_client_shows_a_certificate(need: Need, version: ssl.TLSVersion) -> None:
    server = serving(authorities=ROOT.pem, need=need)
    shown = handshake(showing(MINE, (version, version)), server).server.getpeercert(binary_form=True)
    assert shown == ssl.PEM_cert_to_DER_cert(MINE.pem)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_client_shows_none(version: ssl.TLSVersion) -> None:
    client = client_context(ROOT.pem, (version, version))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(client, serving(authorities=ROOT.pem, need="always"))
    ended = handshake(client, serving(authorities=ROOT.pem, need="offered"))
    assert ended.server.getpeercert(binary_form=True) is None


@pytest.mark.parametrize("need", ["always", "offered"])
@pytest.mark.parametrize(
    ("issued", "why"),
    [
        (certificate("me", by=OTHER_ROOT, usages=(CLIENT,)), "unable to get local issuer certificate"),
        (certificate("me", by=ROOT, usages=(CLIENT,), valid=(0.0, 1.0)), "expired"),
        (certificate("me", by=ROOT), "unsuitable certificate purpose|unsupported certificate purpose"),
    ],
)
def test_a_client_shows_a_bad_one(issued: Issued, why: str, need: Need) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        handshake(showing(issued, (TLS_1_2, TLS_1_3)), serving(authorities=ROOT.pem, need=need))


# -- backends ----------------------------------------------------------------------------------------------


def test_a_backend_is_verified_by_authority_and_name() -> None:
    ended = handshake(backend_context(ROOT.pem), serving(protocols=("h2", "http/1.1")))
    assert ended.client.selected_alpn_protocol() == "http/1.1"
    for authorities, name, why in (
        (OTHER_ROOT.pem, "a.test", "unable to get local issuer"),
        (None, "a.test", "unable to get local issuer"),
        (ROOT.pem, "b.test", "Hostname mismatch"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError, match=why):
            to_backend(backend_context(authorities), name)
    to_backend(backend_context(verify=False), "b.test")


def to_backend(client: ssl.SSLContext, name: str) -> None:
    """The client's side alone: what the server makes of its alert is another matter."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = serving().wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    ours.do_handshake()


def test_a_backend_gets_our_certificate() -> None:
    server = serving(authorities=ROOT.pem, need="always")
    ended = handshake(backend_context(ROOT.pem, pem(MINE)), server)
    assert ended.server.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(MINE.pem)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(backend_context(ROOT.pem), server)


def test_a_backend_needs_tls_1_2() -> None:
    assert backend_context().minimum_version is TLS_1_2
