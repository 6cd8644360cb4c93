"""What proves to an authority that a name leads to us (RFC 8555 section 8, RFC 8737)."""

from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lb.acme.answers import AlpnAnswer
from lb.acme.jose import new_key, thumbprint, to_pem

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
OCTET_STRING = b"\x04\x20"
"""The DER of a string of 32 bytes begins so."""
VALID_FOR = timedelta(days=1)
"""To both sides of now: no client looks at it, but a library may."""


def key_authorization(token: str, account_key: ec.EllipticCurvePrivateKey) -> str:
    """RFC 8555 section 8.1; the body of an answer to HTTP-01."""
    return f"{token}.{thumbprint(account_key)}"


def alpn_answer(name: str, authorization: str, now: datetime) -> AlpnAnswer:
    """The certificate of TLS-ALPN-01: signed by itself, for this name alone (RFC 8737 section 3)."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    digest = OCTET_STRING + sha256(authorization.encode()).digest()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID_FOR)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    return AlpnAnswer(chain=chain.decode(), key=to_pem(key).decode())


def signing_request(name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The request for a certificate of this name, as DER (RFC 8555 section 7.4).

    Its subject is empty: the names of a certificate are its alternative names.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)
