"""What the host of a request asks of its connection: that it has TLS, and the right handshake.

Before that, certificate authorities get their proofs: they ask before there is a certificate.

A handshake is made for one server name; a request on its connection may be for another host. That matters
only where the other host asks something else of clients: then the request came to the wrong connection (RFC
9110 section 15.5.20). Elsewhere browsers may use one connection for many hosts.

A host that asks for a certificate is not to be had without one. So no plain request gets there either, and
none on a connection that was open before the host asked for it.
"""

import re
from collections.abc import Callable
from typing import Protocol

from lb.core.routes import host_name
from lb.core.secured import Secured
from lb.errors import BadRequest
from lb.http1.request_head import RequestHead

CHALLENGES = b"/.well-known/acme-challenge/"
"""Certificate authorities ask here in plain HTTP, before there is a certificate: RFC 8555 section 8.3."""
CHALLENGE = re.compile(rb"%b[A-Za-z0-9_-]+" % re.escape(CHALLENGES))
"""The whole target, with a token. What only begins like it may be any path to a backend: `..` leads out."""
HTTPS_PORT = 443


class ServedNames(Protocol):
    """What is known of server names (`lb.certificate_files.termination`)."""

    @property
    def redirects(self) -> bool:
        """Plain requests for a host with a certificate are sent to https."""
        ...

    def has_certificate(self, host: str) -> bool: ...

    def policy_of(self, host: str) -> object:
        """What this host asks of clients; stands for itself."""
        ...

    def needs_certificate(self, host: str) -> bool:
        """Every client of this host has to show a certificate."""
        ...


def no_answer(_host: str, _token: str) -> bytes | None:
    """No certificate is ordered."""
    return None


class FrontRules:
    """The rules of one process with a TLS listener, whose port is `port`.

    `http_answer` gives the body for a challenge: of this host, with this token.
    """

    def __init__(
        self,
        names: ServedNames,
        port: int,
        http_answer: Callable[[str, str], bytes | None] = no_answer,
    ) -> None:
        self._names = names
        self._port = port
        self._http_answer = http_answer

    def proof(self, head: RequestHead) -> bytes | None:
        """What a certificate authority asks for; None where only a backend may know it."""
        if not head.target.startswith(CHALLENGES) or head.method != b"GET":
            return None
        return self._http_answer(name_of(head), head.target[len(CHALLENGES) :].decode("latin-1"))

    def judge(self, head: RequestHead, secured: Secured | None, is_trusted: bool) -> None:
        """BadRequest with 421 for a host that asks more of clients than this connection has shown.

        `secured` is None on a plain one. There a trusted proxy may have ended TLS.
        """
        host = name_of(head)
        if secured is None:
            if self._names.needs_certificate(host) and not _may_be_plain(head, is_trusted):
                raise BadRequest(f"{host} asks clients for a certificate, which takes https", 421)
        elif host != secured.server_name and self._names.policy_of(host) != secured.policy:
            raise BadRequest(f"{host} asks clients for another certificate than this connection's host", 421)
        elif secured.certificate is None and self._names.needs_certificate(host):
            raise BadRequest(f"{host} asks clients for a certificate, and this connection has none", 421)

    def place_with_tls(self, head: RequestHead, is_trusted: bool) -> bytes | None:
        """The URL to which a plain request is sent instead; None where it is served as it is.

        A client that named no port came to port 80, so https is at its usual port too, whatever ours is.
        """
        if not self._names.redirects or _may_be_plain(head, is_trusted):
            return None
        if not head.target.startswith(b"/") or not self._names.has_certificate(name_of(head)):
            return None
        bare, _, port = head.host.rpartition(b":")
        if not port.isdigit() or not bare:
            return b"https://%b%b" % (head.host, head.target)
        behind = b"" if self._port == HTTPS_PORT else b":%d" % self._port
        return b"https://%b%b%b" % (bare, behind, head.target)


def _may_be_plain(head: RequestHead, is_trusted: bool) -> bool:
    """It is for a certificate authority, or a trusted proxy has ended TLS already."""
    claims = head.claims if is_trusted else None
    has_had_tls = claims is not None and claims.get(b"x-forwarded-proto", b"").lower() == b"https"
    return has_had_tls or CHALLENGE.fullmatch(head.target) is not None


def name_of(head: RequestHead) -> str:
    """The host of a request as server names are written."""
    return host_name(head.host).decode("ascii", "replace").strip("[]")
