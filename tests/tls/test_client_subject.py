"""The subject of a client's certificate, and all that names its owner."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from lb.tls.client_subject import LONGEST, distinct_subject_of, owners_of, subject_of
from tests.kit.certificates import certificate, new_key


def test_the_subject_is_read_and_bounded() -> None:
    assert subject_of(certificate(subject="worker-7").certificate.public_bytes(Encoding.DER)) == "CN=worker-7"
    assert subject_of(b"no certificate").startswith("(not readable: ")
    assert len(subject_of(b"no certificate" * 100)) <= LONGEST


def test_an_owner_is_named_by_subject_and_names() -> None:
    """Whole, however long: what is cut for people would be the same for two."""
    name = "a" * 60
    made = certificate(
        "Rollout.Test", "10.0.0.7", *(f"{name}{each}.test" for each in range(20)), subject="CN,x"
    )
    found = owners_of(made.certificate.public_bytes(Encoding.DER))
    assert {"subject:CN=CN\\,x", "san:rollout.test", "san:10.0.0.7"} <= found
    assert len(found) == 23


def test_mail_and_uri_are_names_of_owners() -> None:
    names = [x509.RFC822Name("a@b.test"), x509.UniformResourceIdentifier("spiffe://b.test/A")]
    key = new_key()
    subject = x509.Name([])
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=subject).public_key(key.public_key())
    now = datetime.now(UTC)
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    signed = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, SHA256())
    der = signed.public_bytes(Encoding.DER)
    assert owners_of(der) == {"san:a@b.test", "san:spiffe://b.test/A"}
    assert distinct_subject_of(der) == "san:a@b.test san:spiffe://b.test/A"


def test_what_cannot_be_read_has_no_owner() -> None:
    assert owners_of(b"no certificate") == frozenset()


def test_what_tells_clients_apart_stays_when_a_certificate_is_renewed() -> None:
    old, new = (certificate("b.test", "a.test", subject="me").certificate for _ in range(2))
    assert old != new
    for made in (old, new):
        assert distinct_subject_of(made.public_bytes(Encoding.DER)) == "subject:CN=me"
    assert distinct_subject_of(b"no certificate").startswith("sha256:")
