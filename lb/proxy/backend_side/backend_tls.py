"""TLS on connections to backends: the context of their pool, and the session that each can take up again.

OpenSSL looks at a certificate in whole handshakes only, and a session that is taken up again is followed by
another one. So how long that goes on is bounded here, and it ends with the certificate.

It is made, with all that it imports, for the first backend whose URL begins with https.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from typing import NamedTuple

from lb.certificate_files.backend_contexts import BackendContexts
from lb.core.backend import Backend
from lb.core.pool import Pool
from lb.net.epoll import Readiness
from lb.net.secure_connect import context_for, secured
from lb.net.tls_memory import TlsMemory
from lb.net.tls_wire import TlsWire
from lb.net.wire import Wire
from lb.settings.pool_settings import BackendTls

RESUMED_SECONDS = 3600.0
"""So long after a whole handshake there is another one, in which the certificate is verified anew."""


class Session(NamedTuple):
    """What is kept for the next connection to a backend. `until` is on the clock of the days."""

    context: ssl.SSLContext
    session: ssl.SSLSession
    until: float


class TlsToBackends:
    """Shakes hands on new connections. `remember` and `forget` keep the session of each backend.

    `contexts` has a task of its own (`Connections.watch_files`).
    """

    def __init__(self, readiness: Readiness, pools: Mapping[str, Pool]) -> None:
        self._readiness = readiness
        self._pools = pools
        self._memory = TlsMemory()
        self.contexts = BackendContexts()
        self._sessions: dict[Backend, Session] = {}

    async def secure(self, sock: socket.socket, backend: Backend, header: bytes = b"") -> TlsWire:
        """TLS on this socket, which has begun with this header, and is the wire's from then on.

        Errors are those of `secured`. After an error, and when cancelled, the socket is closed.
        """
        where, pool = f"{backend.id} at {backend.spec.url}", self._pools.get(backend.pool)
        settings = BackendTls() if pool is None else pool.settings.tls  # it may have left meanwhile
        to = await context_for(settings, self.contexts, sock, where)
        kept = self._sessions.get(backend)
        is_good = kept is not None and kept.context is to.context and time.time() < kept.until
        session = kept.session if kept is not None and is_good else None
        return await secured(sock, self._readiness, to, backend.host, where, session, header, self._memory)

    def remember(self, backend: Backend, wire: Wire) -> None:
        """Keep a connection's session, after its first answer: TLS 1.3 gives it after the handshake only."""
        if not isinstance(wire, TlsWire) or backend.removed:
            return
        tls, session = wire.tls, wire.tls.session
        if session is None or not session.has_ticket:
            return
        kept = self._sessions.get(backend) if tls.session_reused else None
        try:
            until = _until(tls) if kept is None else kept.until
        except ValueError:  # the connection broke, and OpenSSL tells no more of it
            return
        self._sessions[backend] = Session(tls.context, session, until)

    def forget(self, backend: Backend) -> None:
        """The backend is another one now, or gone."""
        self._sessions.pop(backend, None)


def _until(tls: ssl.SSLObject) -> float:
    """How long a session of this whole handshake may be taken up again."""
    longest = time.time() + RESUMED_SECONDS
    shown = tls.getpeercert()  # empty where it is not verified
    return min(longest, ssl.cert_time_to_seconds(str(shown["notAfter"]))) if shown else longest
