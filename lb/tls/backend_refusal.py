"""Why TLS with a backend did not come about: the token of RFC 9209, and a sentence.

OpenSSL says of a certificate only that it is not good. What is in it is read from a second connection
(`lb.net.secure_connect`), so that the sentence names what to change: its names, its issuer, its day.
"""

import ssl

from cryptography import x509

from lb.errors import CertificateRefused, TlsFailed, TlsRefused
from lb.tls.certificate import UNREADABLE, day, name_of, names_of

MOST_NAMES = 3
NOT_YET_VALID, EXPIRED, HOST_MISMATCH, ADDRESS_MISMATCH = 9, 10, 62, 64
"""X509_V_ERR_* of OpenSSL's x509_vfy.h."""
NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"))


def refused_by_us(
    where: str, name: str, error: ssl.SSLCertVerificationError, leaf: bytes | None
) -> TlsFailed:
    """Its certificate is not good. `leaf` is that certificate in DER, where it could be had."""
    found = None if leaf is None else _read(leaf)
    code = error.verify_code
    if found is None:
        why = f"its certificate was refused: {error.verify_message}"
    elif code in (HOST_MISMATCH, ADDRESS_MISMATCH):
        hint = "`tls.name` of the pool says whom to expect"
        why = f"its certificate is for {_names(found)}, not for {name} ({hint})"
    elif code == EXPIRED:
        why = f"its certificate for {_names(found)} ended on {day(found.not_valid_after_utc.timestamp())}"
    elif code == NOT_YET_VALID:
        why = f"its certificate for {_names(found)} begins on {day(found.not_valid_before_utc.timestamp())}"
    else:
        why = (
            f"its certificate for {_names(found)} is issued by {name_of(found.issuer)}, whom we do not "
            f"trust: {error.verify_message} (`tls.ca` of the pool says whom to trust)"
        )
    return CertificateRefused(f"{where}: {why}")


def _read(leaf: bytes) -> x509.Certificate | None:
    try:
        found = x509.load_der_x509_certificate(leaf)
        names_of(found)
    except UNREADABLE:
        return None
    return found


def _names(leaf: x509.Certificate) -> str:
    names = names_of(leaf)
    more = len(names) - MOST_NAMES
    return (", ".join(names[:MOST_NAMES]) or "no name") + (f" and {more} more" if more > 0 else "")


def failed(where: str, error: ssl.SSLError) -> TlsFailed:
    """The handshake failed for another reason than its certificate."""
    reason = error.reason or ""
    words = reason.replace("_", " ").lower() or str(error)
    if reason in NO_TLS:
        why = "it does not speak TLS there; perhaps its URL has to begin with http://"
        return TlsFailed(f"{where}: {why}")
    if "ALERT" in reason:
        wants = "; it may want a certificate of ours (`tls.chain` of the pool)" if _is_of_ours(words) else ""
        why = f"it refused the handshake: {words.partition('alert ')[2]}{wants}"
        return TlsRefused(f"{where}: {why}")
    return TlsFailed(f"{where}: no TLS with it: {words}")


def _is_of_ours(words: str) -> bool:
    return "certificate" in words or "handshake failure" in words or "unknown ca" in words
