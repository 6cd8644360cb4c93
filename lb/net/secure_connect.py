"""TLS on a connection to a backend that has just been made."""

import socket
import ssl

import trio

from lb.certificate_files.backend_contexts import BackendContexts
from lb.errors import ConfigError, LBError, TlsFailed
from lb.net.addresses import Address, peer_of
from lb.net.connect import begin_with, connect
from lb.net.epoll import Readiness
from lb.net.tls_memory import TlsMemory
from lb.net.tls_wire import TlsWire
from lb.settings.pool_settings import BackendTls
from lb.tls.backend_refusal import failed, refused_by_us
from lb.tls.to_backends import ToBackends

LOOK_SECONDS = 2.0
"""How long a second connection may take, which looks at a certificate that was refused."""


async def context_for(
    settings: BackendTls, contexts: BackendContexts, sock: socket.socket, where: str
) -> ToBackends:
    """The context of these settings for a connected socket, which stays the caller's.

    TlsFailed where a file cannot be used. Then, and when it is cancelled, the socket is closed.
    """
    try:
        return await contexts.get(settings)
    except ConfigError as exc:
        sock.close()
        raise TlsFailed(f"{where}: tls.{exc}") from exc
    except BaseException:
        sock.close()
        raise


async def secured(
    sock: socket.socket,
    readiness: Readiness | None,
    to: ToBackends,
    host: str,
    where: str,
    session: ssl.SSLSession | None = None,
    header: bytes = b"",
    memory: TlsMemory | None = None,
) -> TlsWire:
    """Shake hands on a connected socket, which is the wire's from then on. The caller sets the timeout.

    `host` is that of the backend's URL, `where` names the backend in messages, and `memory` is as in
    `TlsWire`. `header` is what the connection has begun with, and any other one there has to. TlsFailed where
    either side refuses; the OSError of epoll_ctl(2) where the socket cannot be watched. Then, and when it is
    cancelled, the socket is closed.
    """
    name, address = to.server_name(host.partition("%")[0]), peer_of(sock)
    try:
        wire = TlsWire(sock, readiness)
    except BaseException:
        sock.close()
        raise
    try:
        wire.begin(to.context, is_server=False, server_name=name, session=session, memory=memory)
        await wire.shake_hands()
    except ssl.SSLCertVerificationError as exc:
        wire.close()
        raise refused_by_us(where, name, exc, await _certificate(address, name, header)) from exc
    except (ssl.SSLError, OSError) as exc:
        wire.close()
        raise _failure(where, exc) from exc
    except ValueError as exc:  # UnicodeError is one: a label of more than 63 bytes, an empty one
        wire.close()
        raise TlsFailed(f"{where}: no certificate can be for {name!r}: {exc}") from exc
    except BaseException:
        wire.close()
        raise
    return wire


def _failure(where: str, exc: ssl.SSLError | OSError) -> LBError:
    if isinstance(exc, ssl.SSLError):
        return failed(where, exc)
    return TlsFailed(f"{where}: it closed the connection within the handshake")


async def _certificate(address: Address | None, name: str, header: bytes) -> bytes | None:
    """The certificate that is there, in DER, from a second connection that takes any; None if there is none.

    Python does not tell what was in one that OpenSSL has refused.
    """
    if address is None:
        return None
    left = trio.current_effective_deadline() - trio.current_time()
    with trio.move_on_after(min(LOOK_SECONDS, left / 2)):  # else it would be said that the time was over
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = await connect([address])
            if header:
                begin_with(sock, header)
            wire = TlsWire(sock)
        except OSError:
            return None
        try:
            wire.begin(context, is_server=False, server_name=name)
            await wire.shake_hands()
            return wire.tls.getpeercert(binary_form=True)
        except OSError:  # ssl.SSLError is one
            return None
        finally:
            wire.close()
    return None
