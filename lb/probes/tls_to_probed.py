"""TLS for probes, with the contexts that requests have too; made where they are first needed."""

import socket
from typing import TYPE_CHECKING

import trio

from lb.errors import ConfigError, TlsFailed
from lb.net.wire import Wire
from lb.probes.probe_target import ProbeTarget

if TYPE_CHECKING:
    from lb.certificate_files.backend_contexts import BackendContexts


class TlsToProbed:
    """Puts TLS on the connections of probes (`lb.probes.probe_target.Secure`); `watch_files` is its task."""

    def __init__(self) -> None:
        self._contexts: BackendContexts | None = None
        self._has_contexts = trio.Event()

    async def __call__(self, sock: socket.socket, target: ProbeTarget) -> Wire:
        try:
            from lb.tls.requirement import check_installed

            check_installed("url")
        except ConfigError as exc:
            sock.close()
            raise TlsFailed(str(exc)) from exc
        from lb.certificate_files.backend_contexts import BackendContexts
        from lb.net.secure_connect import context_for, secured

        assert target.tls is not None
        if self._contexts is None:
            self._contexts = BackendContexts()
            self._has_contexts.set()
        to = await context_for(target.tls, self._contexts, sock, "TLS")
        return await secured(sock, None, to, target.host, "TLS", header=target.header)

    async def watch_files(self) -> None:
        """Swap what files hold, until cancelled."""
        await self._has_contexts.wait()
        assert self._contexts is not None
        await self._contexts.run()
