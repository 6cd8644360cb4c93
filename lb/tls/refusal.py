"""Why a handshake was refused: a reason to count by, a sentence, and what would help.

What is known is an error of OpenSSL or of ours, and what the client offered. In TLS 1.3 a client hears of a
refused certificate only after its own side is done; for us it is the same.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import cache

import msgspec

from lb.tls.certificate import Certificate
from lb.tls.client_hello import (
    BadServerName,
    ClientHello,
    HelloRefused,
    NoCommonProtocol,
    NotTls,
    PlainHttp,
)

MOST_SHOWN = 40
"""So many offers of a kind are kept: a hello has room for thousands."""
LONGEST_SHOWN = 40
VERSIONS = {0x0304: "TLS 1.3", 0x0303: "TLS 1.2", 0x0302: "TLS 1.1", 0x0301: "TLS 1.0", 0x0300: "SSL 3"}
OLD_CIPHERS = {0x0004: "RC4-MD5", 0x0005: "RC4-SHA", 0x000A: "DES-CBC3-SHA"}
"""Suites that OpenSSL no longer knows, and clients that fail for them offer."""
SIGNALS = frozenset((0x00FF, 0x5600))
"""Numbers among the suites that are none: RFC 5746 and RFC 7507."""

_ALERT = b"\x15\x03\x03\x00\x02\x02"
"""A record with a fatal alert, all but its number: RFC 8446 section 6.2."""


class HandshakeReason(StrEnum):
    """Whose fault it was and what it was, in a word."""

    CLIENT_DISTRUSTS_US = "client_distrusts_us"
    CLIENT_REFUSED_CERTIFICATE = "client_refused_certificate"
    CLIENT_CERTIFICATE_MISSING = "client_certificate_missing"
    CLIENT_CERTIFICATE_REFUSED = "client_certificate_refused"
    NO_COMMON_VERSION = "no_common_version"
    NO_COMMON_CIPHER = "no_common_cipher"
    NO_COMMON_PROTOCOL = "no_common_protocol"
    UNKNOWN_NAME = "unknown_name"
    PLAIN_HTTP = "plain_http"
    NOT_TLS = "not_tls"
    HUNG_UP = "hung_up"
    TOO_SLOW = "too_slow"
    TOO_MANY = "too_many"
    BROKEN = "broken"


R = HandshakeReason

BY_OPENSSL: Mapping[str, HandshakeReason] = {
    "TLSV1_ALERT_UNKNOWN_CA": R.CLIENT_DISTRUSTS_US,
    "SSLV3_ALERT_BAD_CERTIFICATE": R.CLIENT_REFUSED_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": R.CLIENT_REFUSED_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": R.CLIENT_REFUSED_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": R.CLIENT_REFUSED_CERTIFICATE,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": R.CLIENT_REFUSED_CERTIFICATE,
    "TLSV1_UNRECOGNIZED_NAME": R.CLIENT_REFUSED_CERTIFICATE,
    "UNSUPPORTED_PROTOCOL": R.NO_COMMON_VERSION,
    "VERSION_TOO_LOW": R.NO_COMMON_VERSION,
    "INAPPROPRIATE_FALLBACK": R.NO_COMMON_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": R.NO_COMMON_VERSION,
    "NO_SHARED_CIPHER": R.NO_COMMON_CIPHER,
    "NO_SUITABLE_KEY_SHARE": R.NO_COMMON_CIPHER,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": R.NO_COMMON_CIPHER,
    "NO_SHARED_SIGNATURE_ALGORITHMS": R.NO_COMMON_CIPHER,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": R.NO_COMMON_CIPHER,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": R.NO_COMMON_CIPHER,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": R.CLIENT_CERTIFICATE_MISSING,
    "CERTIFICATE_VERIFY_FAILED": R.CLIENT_CERTIFICATE_REFUSED,
    "HTTP_REQUEST": R.PLAIN_HTTP,
    "HTTPS_PROXY_REQUEST": R.PLAIN_HTTP,
    "WRONG_VERSION_NUMBER": R.NOT_TLS,
    "UNKNOWN_PROTOCOL": R.NOT_TLS,
    "UNEXPECTED_EOF_WHILE_READING": R.HUNG_UP,
}
HELP: Mapping[HandshakeReason, str] = {
    R.CLIENT_DISTRUSTS_US: "Look whether the chain is whole (certbot: fullchain.pem), and whether the client "
    "knows the authority.",
    R.CLIENT_REFUSED_CERTIFICATE: "Look at names and days of the certificate, and at the client's clock.",
    R.CLIENT_CERTIFICATE_MISSING: 'Give the client a certificate, or set need = "offered" for the host.',
    R.CLIENT_CERTIFICATE_REFUSED: "Renew the client's certificate, or add its authority to the host's `ca`.",
    R.NO_COMMON_VERSION: "Renew the client, or take what it offers: see tls.profile and tls.versions.",
    R.NO_COMMON_CIPHER: "Renew the client, or add a certificate with a key of another type (RSA beside EC).",
    R.NO_COMMON_PROTOCOL: "Let the client speak HTTP/1.1 (curl --http1.1).",
    R.UNKNOWN_NAME: "Add a certificate that has the name, or name one for such clients in tls.default.",
    R.PLAIN_HTTP: "Ask with https:// instead of http://.",
    R.NOT_TLS: "A port scanner, or a PROXY protocol header where the listener takes none (proxy+https://).",
    R.HUNG_UP: "A TCP check of another balancer looks like this, and so does a client that gave up.",
    R.TOO_SLOW: "A client that connects ahead of need looks like this. timeouts.handshake is the limit.",
    R.TOO_MANY: "Raise limits.handshakes if the clients are yours.",
    R.BROKEN: "If the client is yours, look whether something between changes what it sends.",
}

HELP_WITH_ORDER = (
    "Wait for the order, or mend what its last attempt failed at; the log says when the next one is."
)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One handshake that was refused, at the instant `at`. What the client offered is in its own order."""

    at: float
    peer: str
    listener: str
    server_name: str
    versions: tuple[str, ...]
    protocols: tuple[str, ...]
    ciphers: tuple[str, ...]
    reason: HandshakeReason
    sentence: str
    help: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a connection when its handshake is refused.

    `hello` is None where it did not come, `certificate` where none was chosen. `spoken` are the versions
    of TLS that we take, in words. `ordered` says why a certificate that is ordered is not there; None where
    none is.
    """

    at: float
    peer: str
    listener: str
    hello: ClientHello | None = None
    certificate: Certificate | None = None
    spoken: str = "TLS 1.2 and newer"
    ordered: str | None = None


def reason_of(error: BaseException) -> HandshakeReason:
    """The reason that an error of the hello, of OpenSSL or of the socket stands for."""
    match error:
        case PlainHttp():
            return R.PLAIN_HTTP
        case NotTls():
            return R.NOT_TLS
        case BadServerName():
            return R.UNKNOWN_NAME
        case NoCommonProtocol():
            return R.NO_COMMON_PROTOCOL
        case HelloRefused():
            return R.BROKEN
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return R.HUNG_UP
        case ssl.SSLCertVerificationError():
            return R.CLIENT_CERTIFICATE_REFUSED
        case ssl.SSLError():
            return BY_OPENSSL.get(getattr(error, "reason", None) or "", R.BROKEN)
        case TimeoutError():
            return R.TOO_SLOW
        case OSError():
            return R.HUNG_UP
    return R.BROKEN


def alert_of(error: BaseException) -> bytes:
    """The record that tells a client why its hello was refused; empty for who does not speak TLS.

    Of other errors OpenSSL tells it.
    """
    match error:
        case NotTls():
            return b""
        case NoCommonProtocol():
            return _ALERT + b"\x78"
        case BadServerName():
            return _ALERT + b"\x70"
        case HelloRefused():
            return _ALERT + b"\x32"  # it cannot be decoded
    return b""


def refused(known: Known, error: BaseException) -> Refusal:
    """The refusal that this error was."""
    return refusal(known, reason_of(error), _detail(error))


def refusal(known: Known, reason: HandshakeReason, detail: str = "") -> Refusal:
    """A refusal for this reason; `detail` is what OpenSSL or the reader of the hello says of it."""
    hello = known.hello
    return Refusal(
        at=known.at,
        peer=known.peer,
        listener=known.listener,
        server_name=hello.server_name if hello else "",
        versions=tuple(map(version_name, hello.versions[:MOST_SHOWN])) if hello else (),
        protocols=tuple(map(_protocol_name, hello.protocols[:MOST_SHOWN])) if hello else (),
        ciphers=tuple(cipher_names(hello.ciphers)) if hello else (),
        reason=reason,
        sentence=SENTENCES[reason](known, detail),
        help=HELP_WITH_ORDER if known.ordered is not None else HELP[reason],
    )


def _detail(error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError(verify_message=message):
            return message
        case ssl.SSLError(reason=str(reason)):
            return reason.replace("_", " ").lower()
    return str(error)


# -- names -----------------------------------------------------------------------------------------------


def version_name(number: int) -> str:
    return VERSIONS.get(number, f"0x{number:04x}")


def cipher_names(numbers: Iterable[int]) -> list[str]:
    """The names of the first suites, as OpenSSL has them; the number of one that has none."""
    known = _ciphers()
    suites = [number for number in numbers if number not in SIGNALS]
    return [known.get(number, f"0x{number:04x}") for number in suites[:MOST_SHOWN]]


@cache
def _ciphers() -> Mapping[int, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return OLD_CIPHERS | {cipher["id"] & 0xFFFF: cipher["name"] for cipher in context.get_ciphers()}


def _protocol_name(protocol: bytes) -> str:
    return protocol[:LONGEST_SHOWN].decode("ascii", "backslashreplace")


# -- sentences -------------------------------------------------------------------------------------------


def _asked_for(known: Known) -> str:
    name = known.hello.server_name if known.hello else ""
    return name or "no name"


def _names(certificate: Certificate) -> str:
    names, more = certificate.names[:3], len(certificate.names) - 3
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _client_distrusts_us(known: Known, _detail: str) -> str:
    if known.certificate is None:
        return "The client does not trust who issued our certificate."
    issuer, sent = known.certificate.issuer, 1 + len(known.certificate.chain)
    lacks = "" if known.certificate.is_complete else ", and the chain is not whole"
    return (
        f"The client does not trust {issuer}, the issuer of our certificate for {_names(known.certificate)}; "
        f"certificates sent: {sent}{lacks}."
    )


def _client_refused_certificate(known: Known, detail: str) -> str:
    has = "" if known.certificate is None else f", which is for {_names(known.certificate)}"
    said = f" It said: {detail}." if detail else ""
    return f"The client asked for {_asked_for(known)} and refused our certificate{has}.{said}"


def _no_common_version(known: Known, _detail: str) -> str:
    offered = max(known.hello.versions, default=0) if known.hello else 0
    offers = (
        f"The client offers {version_name(offered)} at most" if offered else "The client offers no version"
    )
    return f"{offers}, and we take {known.spoken}."


def _no_common_cipher(known: Known, _detail: str) -> str:
    names = cipher_names(known.hello.ciphers) if known.hello else []
    offers = f": {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}" if names else ""
    kind = "" if known.certificate is None else f", or none for our {known.certificate.key_type} certificate"
    return f"The client offers no cipher suite, group or signature that we take{kind}{offers}."


def _client_certificate_missing(known: Known, _detail: str) -> str:
    return f"For {_asked_for(known)} a client has to show a certificate, and this one showed none."


def _client_certificate_refused(known: Known, detail: str) -> str:
    said = f": {detail}" if detail else ""
    return f"The client's certificate for {_asked_for(known)} is not good{said}."


def _unknown_name(known: Known, detail: str) -> str:
    if known.hello is None:
        return f"There is no certificate for the name that the client asks for: {detail or 'it is no name'}."
    if not known.hello.server_name:
        return "The client names no server, and no certificate is set for such clients."
    if known.ordered is not None:
        return f"There is no certificate for {known.hello.server_name} yet: {known.ordered}."
    return f"There is no certificate for {known.hello.server_name}."


def _said(text: str) -> Callable[[Known, str], str]:
    """A sentence that needs no more than what is said of the error."""
    return lambda _known, detail: f"{text}: {detail}." if detail else f"{text}."


def _hung_up(known: Known, _detail: str) -> str:
    when = "before it had said what it wants" if known.hello is None else "in the middle of the handshake"
    return f"The client closed the connection {when}."


def _too_slow(known: Known, _detail: str) -> str:
    what = "Nothing that is a whole ClientHello came" if known.hello is None else "The handshake did not end"
    return f"{what} in time."


SENTENCES: Mapping[HandshakeReason, Callable[[Known, str], str]] = {
    R.CLIENT_DISTRUSTS_US: _client_distrusts_us,
    R.CLIENT_REFUSED_CERTIFICATE: _client_refused_certificate,
    R.CLIENT_CERTIFICATE_MISSING: _client_certificate_missing,
    R.CLIENT_CERTIFICATE_REFUSED: _client_certificate_refused,
    R.NO_COMMON_VERSION: _no_common_version,
    R.NO_COMMON_CIPHER: _no_common_cipher,
    R.NO_COMMON_PROTOCOL: lambda _known, detail: f"The client speaks {detail} only, and we speak http/1.1.",
    R.UNKNOWN_NAME: _unknown_name,
    R.PLAIN_HTTP: lambda _known, _detail: "The client speaks plain HTTP, and this port speaks TLS.",
    R.NOT_TLS: lambda _known, _detail: "The first bytes are no TLS.",
    R.HUNG_UP: _hung_up,
    R.TOO_SLOW: _too_slow,
    R.TOO_MANY: lambda _known, _detail: "Too many handshakes had begun and not ended.",
    R.BROKEN: _said("The handshake breaks the rules of TLS"),
}
