"""What the data plane asks while a challenge is open: is this ours to answer, and with what?

Both are files of the folder, so that any balancer and any worker on it can answer, whichever made the order.
They are read when they are asked for: only requests below CHALLENGE_PATH and handshakes that offer
ALPN_PROTOCOL ask. A name that comes from a client is judged before it becomes a path.
"""

import os
import re
from pathlib import Path
from typing import TypeVar

import msgspec

from lb.settings.acme_settings import is_certifiable

T = TypeVar("T")
CHALLENGES = "challenges"
CHALLENGE_PATH = "/.well-known/acme-challenge/"
ALPN_PROTOCOL = "acme-tls/1"
"""The only protocol that a handshake of TLS-ALPN-01 offers (RFC 8737 section 4)."""
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")
"""A token has 128 bits at least, in base64url (RFC 8555 section 8.3)."""
LONGEST = 16384


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a token of HTTP-01 is answered with, for this name."""

    name: str
    body: str


class AlpnAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate of TLS-ALPN-01, as PEM."""

    chain: str
    key: str


class Answers:
    """Answers from the folder at this path. A call reads one small file."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    def http_answer(self, host: str, token: str) -> bytes | None:
        """The body for `CHALLENGE_PATH + token` at this host, whose port does not matter.

        None where the token is not ours for this host; then the request is one like any other.
        """
        if not TOKEN.fullmatch(token):
            return None
        answer = _load(http_file(self._folder, token), HttpAnswer)
        if answer is None or answer.name != _without_port(host):
            return None
        return answer.body.encode()

    def alpn_certificate(self, host: str) -> tuple[bytes, bytes] | None:
        """The chain and key, as PEM, for a handshake that offers ALPN_PROTOCOL alone for this server name.

        None where no challenge is open for it; then the handshake is to be refused (RFC 8737 section 3).
        """
        name = host.lower()
        if not is_certifiable(name):
            return None
        answer = _load(alpn_file(self._folder, name), AlpnAnswer)
        return None if answer is None else (answer.chain.encode(), answer.key.encode())


def http_file(folder: Path, token: str) -> Path:
    return folder / CHALLENGES / f"http-{token}"


def alpn_file(folder: Path, name: str) -> Path:
    return folder / CHALLENGES / f"alpn-{name}"


def _without_port(host: str) -> str:
    return host.partition(":")[0].lower().removesuffix(".")


def _load(path: Path, kind: type[T]) -> T | None:
    """What the file holds; None where there is none, or it holds something else."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(LONGEST), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
