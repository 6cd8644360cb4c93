"""Sticky sessions: a cookie brings clients back to the backend that they were on.

The cookie names the backend and carries a keyed digest of that name, so that a client cannot choose a backend
for itself. Nothing is remembered here: any balancer with the same key reads the cookies of any other. A
cookie binds a client as long as its backend is a candidate; else another policy chooses, and the client gets
a new cookie.
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
        named = self.names(request)
        if named is not None:
            for backend in candidates:
                if backend.spec.id == named:
                    return backend
        return self.inner.choose(candidates, request)

    def names(self, request: Asking) -> str | None:
        """The id of the backend that a valid cookie of the client names; that backend need not exist."""
        value = request.cookie(self._name)
        if value is None or len(value) > MAX_VALUE:
            return None
        named, _, signature = value.rpartition(b".")
        if not hmac.compare_digest(self._signature(named), signature):
            return None
        return named.decode("ascii")  # ids are ASCII, and nothing else was ever signed

    def cookie_for(self, backend: Backend) -> bytes:
        """The value of the Set-Cookie field that ties a client to this backend."""
        name = backend.id.encode("ascii")
        return b"%b=%b.%b%b" % (self._name, name, self._signature(name), self._attributes)

    def _signature(self, name: bytes) -> bytes:
        full = hmac.digest(self._key, name, "sha256")
        return urlsafe_b64encode(full[:SIGNATURE]).rstrip(b"=")
