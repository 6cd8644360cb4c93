"""Clients that come back to the backend that they were on, by a cookie.

The cookie names the backend and carries a keyed digest of that name, so that nobody can aim at a backend of
their choice. Nothing is remembered here: any balancer with the same key reads the cookies of any other. A
cookie binds a client as long as its backend is a candidate; else another policy chooses, and a new cookie
follows.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from math import ceil

from lb.core.backend import Backend
from lb.core.policies.base import Asking, Learns, Policy
from lb.settings import pool_settings

SIGNATURE = 16
"""Bytes that are kept of the SHA-256; RFC 2104 wants no fewer than half of them."""
MAX_VALUE = 128 + 1 + 22
"""The longest id, the dot, and a signature in base64."""


class Sticky:
    """The backend that the client's cookie names, if it is a candidate; else the one that `inner` chooses."""

    def __init__(self, settings: pool_settings.Sticky, key: bytes, inner: Policy) -> None:
        self.inner = inner
        self.ended: Callable[[Backend, float], None] | None = (
            inner.ended if isinstance(inner, Learns) else None
        )
        self._key = key
        self._name = settings.cookie.encode()
        age = "" if settings.max_age is None else f"; Max-Age={ceil(settings.max_age)}"
        secure = "; Secure" if settings.secure else ""
        self._attributes = f"; Path=/; HttpOnly; SameSite=Lax{age}{secure}".encode()

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        id = self.names(request)
        if id is not None:
            for backend in candidates:
                if backend.spec.id == id:
                    return backend
        return self.inner.choose(candidates, request)

    def names(self, request: Asking) -> str | None:
        """The id of the backend that a valid cookie of the client names, whether there is one or not."""
        value = request.cookie(self._name)
        if value is None or len(value) > MAX_VALUE:
            return None
        id, _, signature = value.rpartition(b".")
        if not hmac.compare_digest(self._signature(id), signature):
            return None
        return id.decode("ascii")  # nothing but ids was ever signed

    def cookie_for(self, backend: Backend) -> bytes:
        """The value of the Set-Cookie field that ties a client to this backend."""
        id = backend.id.encode("ascii")
        return b"%b=%b.%b%b" % (self._name, id, self._signature(id), self._attributes)

    def _signature(self, id: bytes) -> bytes:
        full = hmac.digest(self._key, id, "sha256")
        return urlsafe_b64encode(full[:SIGNATURE]).rstrip(b"=")
