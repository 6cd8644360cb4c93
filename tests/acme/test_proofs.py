"""Signatures, proofs and facts, beside the examples of the documents and OpenSSL's own eyes."""

import json
import ssl
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lb.acme import issued
from lb.acme.jose import base64url, from_base64url, from_pem, new_key, public_jwk, signed, thumbprint, to_pem
from lb.acme.proofs import ACME_IDENTIFIER, alpn_answer, key_authorization, signing_request
from lb.acme.storage import Pair
from tests.acme.authority import ari_id, certificate, verify

NAME = "www.example.com"
NOW = 1_800_000_000.0


def public_of(private: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(private, ec.SECP256R1())


@pytest.mark.parametrize("private", [1, 2, 12345, 2**255 - 19])
def test_a_key_has_the_thumbprint_of_its_members_in_order(private: int) -> None:
    """RFC 7638 section 3: the members crv, kty, x and y, in this order, without blanks."""
    key = public_of(private)
    jwk = public_jwk(key)
    text = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    assert thumbprint(key) == base64url(sha256(text.encode()).digest())
    assert all(len(from_base64url(jwk[axis])) == 32 for axis in "xy")


def test_the_generator_of_the_curve_is_the_key_of_one() -> None:
    """SEC 2 section 2.4.2."""
    x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    assert from_base64url(public_jwk(public_of(1))["x"]).hex() == x


def test_a_signature_has_two_numbers_of_fixed_size() -> None:
    key = new_key()
    for _ in range(64):  # one in 128 has a number that begins with a byte of zero
        parts = json.loads(signed(key, {"nonce": "n"}, b"{}"))
        data = f"{parts['protected']}.{parts['payload']}".encode()
        verify(public_jwk(key), data, from_base64url(parts["signature"]))


@pytest.mark.parametrize("text", ["", "=", "a b", "a+b/", "ä"])
def test_what_is_not_base64url(text: str) -> None:
    with pytest.raises(ValueError, match="not base64url"):
        from_base64url(text)


def test_base64url_with_padding_and_line_ends_is_read() -> None:
    assert from_base64url("YQ==\n") == from_base64url("YQ") == b"a"


def test_keys_survive_their_pem_and_others_are_refused() -> None:
    key = new_key()
    assert public_jwk(from_pem(to_pem(key))) == public_jwk(key)
    other = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(ValueError, match="not a key on the curve P-256"):
        from_pem(to_pem(other))
    with pytest.raises(ValueError):
        from_pem(b"no key")


def test_the_certificate_of_tls_alpn_01() -> None:
    """RFC 8737 section 3: one name, and a critical extension with the digest of the key authorisation."""
    authorization = key_authorization("token", new_key())
    answer = alpn_answer(NAME, authorization, datetime.fromtimestamp(NOW, UTC))
    leaf = x509.load_pem_x509_certificate(answer.chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    identifier = leaf.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert identifier.critical
    assert isinstance(identifier.value, x509.UnrecognizedExtension)
    assert identifier.value.value == b"\x04\x20" + sha256(authorization.encode()).digest()
    assert leaf.not_valid_before_utc.timestamp() < NOW < leaf.not_valid_after_utc.timestamp()


def test_openssl_takes_it_with_its_key(tmp_path: Path) -> None:
    answer = alpn_answer(NAME, "proof", datetime.now(UTC))
    path = tmp_path / "pem"
    path.write_text(answer.chain + answer.key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_a_request_for_a_certificate_is_signed_and_has_one_name() -> None:
    request = x509.load_der_x509_csr(signing_request(NAME, new_key()))
    assert request.is_signature_valid
    assert [*request.subject] == []


# -- facts -------------------------------------------------------------------------------------------------


def test_facts_of_a_certificate() -> None:
    authority, key = new_key(), new_key()
    chain = certificate(NAME, key.public_key(), authority, NOW, 90 * 86400)
    facts = issued.read(Pair(chain, to_pem(key)))
    assert facts.names == (NAME,)
    assert facts.validity == (NOW, NOW + 90 * 86400)
    assert facts.id == ari_id(x509.load_pem_x509_certificate(chain))


def test_the_id_of_the_example_of_the_document() -> None:
    """RFC 9773 section 4.1 and appendix A: serial 00:87:65:43:21, with the zero that DER puts before it."""
    authority = new_key()
    leaf = x509.load_pem_x509_certificate(certificate(NAME, new_key().public_key(), authority, NOW))
    key_id = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier

    class Leaf:
        extensions = leaf.extensions
        serial_number = 0x87654321

    assert key_id is not None
    assert issued._id(Leaf()) == f"{base64url(key_id)}.AIdlQyE"  # type: ignore[arg-type]
    assert base64url(bytes.fromhex("0087654321")) == "AIdlQyE"


def test_chain_and_key_of_two_certificates_are_refused() -> None:
    chain = certificate(NAME, new_key().public_key(), new_key(), NOW)
    with pytest.raises(ValueError, match="its key is not that of its first certificate"):
        issued.read(Pair(chain, to_pem(new_key())))


def test_a_key_of_rsa_is_read_too() -> None:
    """An operator may have put one there."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert issued.read(Pair(certificate(NAME, key.public_key(), new_key(), NOW), pem)).names == (NAME,)


def test_a_key_with_a_password_is_refused() -> None:
    key = new_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    with pytest.raises(ValueError, match="no certificate and key that can be read"):
        issued.read(Pair(certificate(NAME, key.public_key(), new_key(), NOW), pem))


def test_what_stands_between_certificates_is_left_out() -> None:
    one, two = (certificate(NAME, new_key().public_key(), new_key(), NOW) for _ in range(2))
    assert issued.tidied(b"subject=x\n" + one + b"\r\n\r\njunk\n" + two) == one + two
