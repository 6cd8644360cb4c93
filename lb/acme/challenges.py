"""What the data plane of one process does for certificates that are ordered.

It answers challenges, and says of a name why there is no certificate yet. Each question reads a small file of
the folder, in the event loop: a thread would take longer than the file, of which the system has a copy in
memory. Who can ask is bounded: a request needs the path of challenges and a token that has the form of one,
and a handshake its protocol, or a name that we want and do not have.
"""

import ssl
from collections.abc import Callable

from lb.acme.answers import ALPN_PROTOCOL, Answers
from lb.acme.storage import Storage, StorageError
from lb.settings.acme_settings import AcmeSettings, is_certifiable
from lb.settings.tls_settings import TlsSettings
from lb.tls.client_hello import ClientHello
from lb.tls.contexts import server_context, show
from lb.tls.table import Served

PROTOCOLS = (ALPN_PROTOCOL.encode(),)


class Challenges:
    """By these settings, until `configure` sets others. `is_routed` says whether a route has this host."""

    def __init__(self, settings: TlsSettings, is_routed: Callable[[str], bool]) -> None:
        self._is_routed = is_routed
        self.configure(settings)

    def configure(self, settings: TlsSettings) -> None:
        self._acme: AcmeSettings | None = settings.acme
        self._answers = None if settings.acme is None else Answers(settings.acme.storage)

    def http_answer(self, host: str, token: str) -> bytes | None:
        """The body for this token of HTTP-01; None where it is not ours, and a backend may know it."""
        return None if self._answers is None else self._answers.http_answer(host, token)

    def is_challenge(self, hello: ClientHello) -> bool:
        """Whether a handshake is one of TLS-ALPN-01, which no client of ours makes."""
        return self._answers is not None and hello.protocols == PROTOCOLS

    def served(self, hello: ClientHello) -> Served | None:
        """What proves the name of such a handshake; None, and it is to be refused, where nothing is open."""
        assert self._answers is not None
        pair = self._answers.alpn_certificate(hello.server_name)
        if pair is None:
            return None
        context = server_context(protocols=(ALPN_PROTOCOL,))
        try:
            show(context, b"".join(pair))
        except ssl.SSLError:
            return None
        return Served(context, (), None, is_challenge=True)

    def why_none(self, hello: ClientHello) -> str | None:
        """Why there is no certificate for the name of a handshake; None where none is ordered."""
        acme, name = self._acme, hello.server_name
        if acme is None or not self._is_wanted(acme, name):
            return None
        if self.is_challenge(hello):
            return "no challenge of it is open"
        try:
            last = Storage(acme.storage).failures(name).why
        except StorageError as exc:
            last = str(exc)
        return f"it is being ordered, and the last attempt failed: {last}" if last else "it is being ordered"

    def _is_wanted(self, acme: AcmeSettings, name: str) -> bool:
        if isinstance(acme.names, tuple):
            return name in acme.names
        return is_certifiable(name) and self._is_routed(name)
