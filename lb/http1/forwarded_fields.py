"""The fields that are added to a request for its backend: X-Forwarded-*, Forwarded, Via and X-Request-Id.

They say who the client is. What a client says of itself is kept only from a trusted peer.
"""

import re
from base64 import b64encode

from lb.core.client_address import UNIX
from lb.http1.fields import CLIENT_CERT, SCHEME

REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")


class ForwardedFields:
    """What backends are told about one client connection; made once, when the connection is accepted.

    A `trusted` peer (another proxy of the operator's) may name the clients before it: its fields are kept and
    extended. Those of all other peers are replaced. Via is RFC 9110 section 7.6.3; it is left out where `via`
    is empty. `Forwarded` is RFC 7239 and only sent by choice; the others are custom that every framework
    reads. `certificate` is that of the client, in DER, for Client-Cert (RFC 9440). A peer on a Unix socket
    has no address, and none is invented: nothing is said in X-Forwarded-For, and `unknown` in Forwarded.
    """

    __slots__ = ("_certificate", "_constant", "_peer", "_scheme", "_sends_forwarded", "_via", "is_trusted")

    def __init__(
        self,
        peer: bytes,
        trusted: bool,
        via: bytes,
        sends_forwarded: bool,
        *,
        scheme: bytes = b"http",
        certificate: bytes | None = None,
    ) -> None:
        self._peer = b"" if peer == UNIX.encode() else peer
        self.is_trusted = trusted
        self._sends_forwarded = sends_forwarded
        self._via = (b"Via: 1.1 %b\r\n" % via, b"Via: 1.0 %b\r\n" % via) if via else (b"", b"")
        known = b"X-Forwarded-For: %b\r\n" % self._peer if self._peer else b""
        self._scheme = scheme
        self._certificate = b"" if certificate is None else b":%b:" % b64encode(certificate)
        shown = b"Client-Cert: %b\r\n" % self._certificate if certificate else b""
        self._constant = known + b"X-Forwarded-Proto: %b\r\n" % scheme + shown

    def request_id(self, claims: dict[bytes, bytes] | None) -> bytes | None:
        """The id that a trusted peer gave the request, if it is fit to be logged."""
        if not claims or not self.is_trusted:
            return None
        claimed = claims.get(b"x-request-id", b"")
        return claimed if REQUEST_ID.fullmatch(claimed) else None

    def lines(
        self, host: bytes, request_id: bytes, claims: dict[bytes, bytes] | None, is_1_0: bool = False
    ) -> bytes:
        """The field lines to add to a request; `claims` is that of its head.

        Via names the version in which the request came, not the one in which it is sent on.
        """
        via = self._via[is_1_0]
        if claims and self.is_trusted:
            return self._extended(host, request_id, claims) + via
        lines = b"%b%bX-Forwarded-Host: %b\r\nX-Request-Id: %b\r\n" % (self._constant, via, host, request_id)
        if self._sends_forwarded:
            lines += b"Forwarded: %b\r\n" % self._forwarded(host, self._scheme)
        return lines

    def _extended(self, host: bytes, request_id: bytes, claims: dict[bytes, bytes]) -> bytes:
        fields = dict(claims)
        scheme = fields.pop(SCHEME, self._scheme)
        if self._certificate:
            fields.setdefault(CLIENT_CERT, self._certificate)
        hops = [each for each in (claims.get(b"x-forwarded-for"), self._peer) if each]
        if hops:
            fields[b"x-forwarded-for"] = b", ".join(hops)
        fields.setdefault(b"x-forwarded-proto", scheme)
        fields.setdefault(b"x-forwarded-host", host)
        fields[b"x-request-id"] = request_id
        if self._sends_forwarded:
            before = claims.get(b"forwarded")
            ours = self._forwarded(host, scheme)
            fields[b"forwarded"] = before + b", " + ours if before else ours
        return b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in fields.items())

    def _forwarded(self, host: bytes, scheme: bytes) -> bytes:
        peer = b'"[%b]"' % self._peer if b":" in self._peer else self._peer or b"unknown"
        return b'for=%b;host="%b";proto=%b' % (peer, host, scheme)
