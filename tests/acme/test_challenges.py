"""What the data plane does: proofs for authorities, and words for those who come too early."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from lb.acme.answers import AlpnAnswer, HttpAnswer
from lb.acme.challenges import Challenges
from lb.acme.storage import Storage
from lb.core.renewal import Failures
from lb.settings.acme_settings import AcmeSettings
from lb.settings.tls_settings import TlsSettings
from lb.tls.client_hello import ClientHello
from tests.kit.certificates import certificate
from tests.kit.handshakes import client_context, handshake

NAME = "www.example.com"
TOKEN = "a-token-of-22-letters."[:-1]
ALPN = (b"acme-tls/1",)


def hello(name: str = NAME, protocols: tuple[bytes, ...] = (b"http/1.1",)) -> ClientHello:
    return ClientHello(server_name=name, protocols=protocols, versions=(0x0304,), suites=b"")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(tmp_path / "acme")
    made.prepare()
    return made


def tls(storage: Storage, **values: Any) -> TlsSettings:
    made: dict[str, Any] = {"names": (NAME,), "storage": str(storage.folder), "terms_agreed": True}
    return TlsSettings(acme=AcmeSettings(**(made | values)))


def challenges(storage: Storage, **values: Any) -> Challenges:
    return Challenges(tls(storage, **values), lambda host: host in (NAME, "localhost"))


def test_a_token_is_answered_for_its_name_alone(storage: Storage) -> None:
    storage.keep_http_answer(TOKEN, HttpAnswer(name=NAME, body="proof"))
    asked = challenges(storage)
    assert asked.http_answer(NAME, TOKEN) == b"proof"
    assert asked.http_answer("shop.example.com", TOKEN) is None
    assert asked.http_answer(NAME, "another-token-of-22-ones") is None


def test_a_handshake_of_an_authority_gets_the_certificate_of_its_challenge(storage: Storage) -> None:
    proof = certificate(NAME)
    storage.keep_alpn_answer(NAME, AlpnAnswer(chain=proof.chain, key=proof.key_pem))
    asked = challenges(storage, challenge="tls-alpn-01")
    assert asked.is_challenge(hello(protocols=ALPN))
    served = asked.served(hello(protocols=ALPN))
    assert served is not None
    assert served.is_challenge
    ended = handshake(client_context(protocols=["acme-tls/1"]), served.context, NAME)
    assert ended.client.selected_alpn_protocol() == "acme-tls/1"
    assert ssl.DER_cert_to_PEM_cert(ended.shown).strip() == proof.pem.strip()
    with pytest.raises(ssl.SSLError):
        handshake(client_context(protocols=["http/1.1"]), served.context, NAME).client.read(1)


@pytest.mark.parametrize("protocols", [(), (b"http/1.1",), (b"acme-tls/1", b"http/1.1")])
def test_no_client_is_taken_for_an_authority(storage: Storage, protocols: tuple[bytes, ...]) -> None:
    assert not challenges(storage).is_challenge(hello(protocols=protocols))


def test_an_authority_whose_challenge_is_not_open_gets_nothing(storage: Storage) -> None:
    asked = challenges(storage)
    assert asked.served(hello(protocols=ALPN)) is None
    assert asked.why_none(hello(protocols=ALPN)) == "no challenge of it is open"


@pytest.mark.parametrize("names", [(NAME,), "routes"])
def test_why_there_is_no_certificate_yet(storage: Storage, names: Any) -> None:
    asked = challenges(storage, names=names)
    assert asked.why_none(hello()) == "it is being ordered"
    storage.keep_failures(NAME, Failures(times=(1.0,), in_a_row=1, why="it does not lead here"))
    said = "it is being ordered, and the last attempt failed: it does not lead here"
    assert asked.why_none(hello()) == said
    assert asked.why_none(hello("shop.example.com")) is None
    assert asked.why_none(hello("localhost")) is None  # a route has it, and it can have no certificate
    assert asked.why_none(hello("")) is None


def test_a_file_that_cannot_be_read_is_said_too(storage: Storage) -> None:
    (storage.folder / "failures" / f"{NAME}.json").write_text("{")
    why = challenges(storage).why_none(hello())
    assert why is not None
    assert f"{NAME}.json is not what this program has written" in why


def test_a_reload_may_order_nothing_any_more(storage: Storage) -> None:
    storage.keep_http_answer(TOKEN, HttpAnswer(name=NAME, body="proof"))
    asked = challenges(storage)
    asked.configure(TlsSettings())
    assert asked.http_answer(NAME, TOKEN) is None
    assert not asked.is_challenge(hello(protocols=ALPN))
    assert asked.why_none(hello()) is None
    asked.configure(tls(storage))
    assert asked.http_answer(NAME, TOKEN) == b"proof"
