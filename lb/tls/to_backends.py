"""TLS to the backends of one pool: the context, and the certificate that we show where one asks."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from lb.errors import ConfigError
from lb.settings.pool_settings import SYSTEM, BackendTls
from lb.tls.certificate import Certificate, Read, load_authorities, load_certificate, warnings
from lb.tls.contexts import backend_context
from lb.tls.pem_files import read_pem


@dataclass(frozen=True, slots=True)
class ToBackends:
    """What a connection to a backend needs. One context for all of them: sessions are resumed with it."""

    context: ssl.SSLContext
    own: Certificate | None
    name: str | None

    def server_name(self, host: str) -> str:
        """What the backend with this host in its URL is asked for, and what its certificate has to be for."""
        return self.name or host

    def warnings(self, now: float) -> Iterator[str]:
        if self.own is not None:
            yield from warnings(self.own, now, is_ours_to_show=False)


def to_backends(settings: BackendTls, read: Read = read_pem) -> ToBackends:
    """What these settings and their files say. It blocks.

    ConfigError, which begins with the key within the settings, where a file cannot be used.
    """
    authorities = None if settings.ca == SYSTEM else load_authorities(settings.ca, read).pem
    own = None if settings.chain is None else load_certificate(settings.chain, settings.key, read)
    try:
        context = backend_context(authorities, own.pem if own else None, verify=settings.verify)
    except ssl.SSLError as exc:
        where = f"chain: {settings.chain}" if own else f"ca: {settings.ca}"
        raise ConfigError(f"{where}: OpenSSL does not take it: {exc.reason or exc}") from exc
    return ToBackends(context, own.certificate if own else None, settings.name)
