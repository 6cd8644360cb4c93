"""SSL contexts, made by hand: what `ssl.create_default_context` sets differs from one Python to the next.

The profiles are Mozilla's (server side TLS, 5.7): `modern` is TLS 1.3 alone, `intermediate` adds 1.2 with
forward secrecy. Its DHE suites are left out: they need parameters of their own, and every client that knows
them knows ECDHE too. Which groups are offered Python cannot say; OPENSSL_CONF can.

A connection that ends without close_notify is an error on both sides, with every Python: a body that ends
with the connection may have been cut.
"""

import os
import ssl
from collections.abc import Mapping, Sequence
from typing import Literal

INTERMEDIATE = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
"""The suites of TLS 1.2; those of 1.3 are all good, and always on."""
VERSIONS: Mapping[str, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
ALL = tuple(VERSIONS)
TICKETS = 1
"""For each connection: who opens several at once has one of each. A ticket costs as much as to sign."""
HTTP_1_1 = ("http/1.1",)
Need = Literal["always", "offered"]


def server_context(
    versions: Sequence[str] = ALL,
    protocols: Sequence[str] = HTTP_1_1,
    authorities: str | None = None,
    need: Need = "always",
) -> ssl.SSLContext:
    """A context for clients, without a certificate yet.

    `versions` of TLS are spoken, the oldest first. `authorities` are certificates in PEM. With them a client
    is asked for a certificate that one of them has issued: with `need` always it has to have one, with
    offered one that it shows has to be good. A session would stand for a certificate that may have ended or
    been replaced since, so TLS 1.3 gives none there.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, protocols)
    context.minimum_version = VERSIONS[versions[0]]
    if versions[-1] != ALL[-1]:
        context.maximum_version = VERSIONS[versions[-1]]
    context.set_ciphers(INTERMEDIATE)
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # all are good: the client knows what it is fast at
    context.num_tickets = TICKETS
    if authorities is not None:
        context.load_verify_locations(cadata=authorities)
        context.verify_mode = ssl.CERT_REQUIRED if need == "always" else ssl.CERT_OPTIONAL
        context.num_tickets = 0
    return context


def spoken(context: ssl.SSLContext) -> str:
    """The versions of TLS that a context speaks, in words."""
    words = {version: f"TLS {number}" for number, version in VERSIONS.items()}
    newest = words.get(context.maximum_version)
    return f"{words[context.minimum_version]} and newer" if newest is None else f"{newest} alone"


def backend_context(
    authorities: str | None = None,
    own: bytes | None = None,
    *,
    verify: bool = True,
    protocols: Sequence[str] = HTTP_1_1,
) -> ssl.SSLContext:
    """A context for backends, whose certificate and name are verified unless `verify` is false.

    `authorities` are certificates in PEM, None those of the system. `own` is our chain and key in PEM, for
    backends that ask for one.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, protocols)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify and authorities is None:
        context.set_default_verify_paths()
    elif verify:
        context.load_verify_locations(cadata=authorities)
    if own is not None:
        show(context, own)
    return context


def _context(side: int, protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # versions differ, and authorities of one's own are not strict
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def show(context: ssl.SSLContext, pem: bytes) -> None:
    """Let the context show this certificate, in place of one whose key is of the same type.

    On a context that is in use, session tickets stay good. ssl.SSLError where OpenSSL does not take it: it
    may then have the half of it, so another context has to have tried it before. No file is read: what
    OpenSSL gets is what was judged, although Python can give it a path only.
    """
    with open(os.memfd_create("certificate"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_passphrase)


def _no_passphrase() -> str:
    """Otherwise OpenSSL would ask for one at the terminal."""
    return ""
