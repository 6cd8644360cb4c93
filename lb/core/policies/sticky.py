"""Sticky sessions: a cookie brings clients back to the backend that they were on.

The cookie holds the backend's id and when it was issued, encrypted and authenticated, so that a client can
neither read what stands behind the balancer nor choose a backend for itself. Nothing is remembered here: any
balancer with the same key reads the cookies of any other. A cookie binds a client as long as its backend is a
candidate; else another policy chooses, and the client gets a new cookie.
"""

import binascii
import hmac
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import shake_256
from math import ceil
from typing import NamedTuple

from lb.core.backend import Backend
from lb.core.policies.base import Asking, Learns, Policy
from lb.settings import pool_settings

TAG = 16
"""Bytes that are kept of the SHA-256; RFC 2104 wants no fewer than half of them."""
ISSUED = 5
"""Bytes of the time of issue, in seconds since 1970."""
MAX_VALUE = (TAG + ISSUED + 128) * 4 // 3 + 1
"""The longest id in base64."""
MOST_COOKIES = 8
"""Cookies of the name that are looked at; few browsers have two."""
REMEMBERED = 1024


class Tie(NamedTuple):
    """What a valid cookie says: which backend, and since when."""

    issued: int
    backend: str


class Seal:
    """Writes and reads the values of cookies.

    A synthetic initialisation vector (as in RFC 5297): the tag, which authenticates the text, also begins the
    stream of bytes that hides it. So no chance is needed, and no two texts share a stream.
    """

    def __init__(self, key: bytes) -> None:
        self._tag_key = hmac.digest(key, b"sticky cookie: tag", "sha256")
        self._stream_key = hmac.digest(key, b"sticky cookie: stream", "sha256")
        self.open = lru_cache(REMEMBERED)(self._open)

    def close(self, tie: Tie) -> bytes:
        """The value of a cookie that says this."""
        text = tie.issued.to_bytes(ISSUED, "big") + tie.backend.encode("ascii")
        tag = self._tag(text)
        return urlsafe_b64encode(tag + self._hidden(text, tag)).rstrip(b"=")

    def _open(self, value: bytes) -> Tie | None:
        """What a value of `close` says; None for any other."""
        try:
            raw = b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        text = self._hidden(raw[TAG:], raw[:TAG])
        if len(text) < ISSUED or not hmac.compare_digest(self._tag(text), raw[:TAG]):
            return None
        tie = Tie(int.from_bytes(text[:ISSUED], "big"), text[ISSUED:].decode("ascii"))
        return tie if self.close(tie) == value else None  # base64 has several spellings of the same bytes

    def _tag(self, text: bytes) -> bytes:
        return hmac.digest(self._tag_key, text, "sha256")[:TAG]

    def _hidden(self, text: bytes, tag: bytes) -> bytes:
        """The text in hidden form, or the text again of the hidden form."""
        stream = shake_256(self._stream_key + tag).digest(len(text))
        return bytes(a ^ b for a, b in zip(text, stream, strict=True))


class Sticky:
    """The backend that the client's cookie names, if it is a candidate; else the one that `inner` chooses.

    `wall` gives seconds since 1970. A cookie is renewed when half of its `max_age` is over, so it ends only
    with a client that stays away.
    """

    def __init__(
        self, settings: pool_settings.Sticky, key: bytes, inner: Policy, wall: Callable[[], float]
    ) -> None:
        self.inner = inner
        self.ended: Callable[[Backend, float], None] | None = (
            inner.ended if isinstance(inner, Learns) else None
        )
        self._seal = Seal(key)
        self._wall = wall
        self._name = settings.cookie.encode()
        self._attributes = _attributes(settings).encode()
        self._renewed_after = None if settings.max_age is None else settings.max_age / 2

    def choose(self, candidates: Sequence[Backend], request: Asking) -> Backend:
        for named in self.names(request):
            for backend in candidates:
                if backend.spec.id == named:
                    return backend
        return self.inner.choose(candidates, request)

    def names(self, request: Asking) -> tuple[str, ...]:
        """The ids in the client's valid cookies, the newest first; those backends need not exist.

        A browser may send several cookies of one name, of other paths or domains; any valid one counts.
        """
        return tuple(tie.backend for tie in self._ties(request))

    def newest(self, request: Asking) -> str | None:
        """The id in the client's newest valid cookie, or None."""
        return next(iter(self.names(request)), None)

    def is_tied(self, request: Asking, backend: Backend) -> bool:
        """The client has a cookie that names this backend and need not be renewed yet."""
        issued = [tie.issued for tie in self._ties(request) if tie.backend == backend.id]
        if not issued or self._renewed_after is None:
            return bool(issued)
        return self._wall() - issued[0] < self._renewed_after

    def cookie_line(self, request: Asking, backend: Backend) -> bytes:
        """The field line that ties this client to the backend; none where it is tied for long enough."""
        if self.is_tied(request, backend):
            return b""
        return b"Set-Cookie: %b\r\n" % self.cookie_for(backend)

    def cookie_for(self, backend: Backend) -> bytes:
        """The value of the Set-Cookie field that ties a client to this backend."""
        value = self._seal.close(Tie(int(self._wall()), backend.id))
        return b"%b=%b%b" % (self._name, value, self._attributes)

    def _ties(self, request: Asking) -> list[Tie]:
        values = request.cookies(self._name)[:MOST_COOKIES]
        found = [self._seal.open(value) for value in values if len(value) <= MAX_VALUE]
        return sorted((tie for tie in found if tie is not None), key=lambda tie: -tie.issued)


def _attributes(settings: pool_settings.Sticky) -> str:
    """The attributes of the cookie (RFC 6265 section 4.1.2)."""
    parts = (
        f"; Path={settings.path}",
        f"; Domain={settings.domain}" if settings.domain is not None else "",
        "; HttpOnly" if settings.http_only else "",
        f"; SameSite={settings.same_site.title()}",
        "" if settings.max_age is None else f"; Max-Age={ceil(settings.max_age)}",
        "; Secure" if settings.secure else "",
    )
    return "".join(parts)
