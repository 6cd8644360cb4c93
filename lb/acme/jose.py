"""Signatures as ACME wants them: flattened JWS with ES256 (RFC 7515, RFC 8555 section 6.2)."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from hmac import digest

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SIZE = 32
"""Of a coordinate of P-256, in bytes."""


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The bytes; ValueError where the text is not base64url. Padding may be there or not."""
    bare = text.strip().rstrip("=")
    if not bare or bare.replace("-", "").replace("_", "").strip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    ):
        raise ValueError("it is not base64url")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def from_pem(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The key; ValueError where it is none on P-256."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("it is not a key on the curve P-256")
    return key


def public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The public half (RFC 7518 section 6.2), in the order that a thumbprint needs."""
    numbers = key.public_key().public_numbers()
    return {
        "crv": "P-256",
        "kty": "EC",
        "x": base64url(numbers.x.to_bytes(SIZE, "big")),
        "y": base64url(numbers.y.to_bytes(SIZE, "big")),
    }


def thumbprint(key: ec.EllipticCurvePrivateKey) -> str:
    """RFC 7638."""
    return base64url(sha256(_compact(public_jwk(key))).digest())


def signed(key: ec.EllipticCurvePrivateKey, head: Mapping[str, object], payload: bytes) -> bytes:
    """The body of a request; `head` is the protected header without its algorithm."""
    protected, content = base64url(_compact({"alg": "ES256", **head})), base64url(payload)
    signature = key.sign(f"{protected}.{content}".encode(), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(signature)
    return _flattened(protected, content, r.to_bytes(SIZE, "big") + s.to_bytes(SIZE, "big"))


def bound(key: ec.EllipticCurvePrivateKey, url: str, key_id: str, secret: bytes) -> dict[str, object]:
    """The binding of our account's key to an account at the authority (RFC 8555 section 7.3.4)."""
    protected = base64url(_compact({"alg": "HS256", "kid": key_id, "url": url}))
    content = base64url(_compact(public_jwk(key)))
    mac = digest(secret, f"{protected}.{content}".encode(), "sha256")
    made: dict[str, object] = json.loads(_flattened(protected, content, mac))
    return made


def _flattened(protected: str, payload: str, signature: bytes) -> bytes:
    return _compact({"protected": protected, "payload": payload, "signature": base64url(signature)})


def _compact(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
