"""The tokens file: the operators' tokens, each with a name and a scope.

Each line has a name, a scope, and the token or its SHA-256, with which the file holds no secret
(`printf %s TOKEN | sha256sum` prints it):

    # name     scope   token
    grafana    read    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    deploy     drain   dGhlIHJvbGxpbmcgb25l
"""

import hashlib
import re
from collections.abc import Iterator

import msgspec

from lb.config import secret_file
from lb.config.token_scope import Scope
from lb.errors import ConfigError

LINE = re.compile(r"(?P<name>[\w.@~-]{1,64})\s+(?P<scope>\S+)\s+(?P<token>\S+)", re.ASCII)
DIGEST = re.compile(r"sha256:(?P<hex>[0-9a-fA-F]{64})")
TAKEN_NAMES = frozenset({"anonymous", "signal"})
"""Names that the audit trail uses itself: for a caller without a token, and for a SIGHUP."""


class Token(msgspec.Struct, frozen=True):
    """One token, kept as its SHA-256 only, so that memory and messages never show it."""

    name: str
    scope: Scope
    digest: bytes


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def is_sendable(token: str) -> bool:
    """Whether a client can send this token in a field: one word of visible ASCII characters."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def read(path: str) -> tuple[Token, ...]:
    """The tokens in a file. It blocks.

    ConfigError where the file has a mistake, or where other users could read or change it.
    """
    where = f"admin.tokens_file: {path}"
    try:
        text = secret_file.read(path, where).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{where}: not UTF-8") from exc
    return parse(text, where)


def parse(text: str, where: str = "tokens") -> tuple[Token, ...]:
    """The tokens in the text of such a file; ConfigError that names the line and shows no token."""
    tokens = tuple(_lines(text, where))
    if not tokens:
        raise ConfigError(f"{where}: there is no token in it")
    for what in ("name", "digest"):
        values = [getattr(token, what) for token in tokens]
        if len(set(values)) < len(values):
            raise ConfigError(f"{where}: two lines have the same {'name' if what == 'name' else 'token'}")
    return tokens


def _lines(text: str, where: str) -> Iterator[Token]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _token(line.strip(), f"{where}, line {number}")


def _token(line: str, where: str) -> Token:
    found = LINE.fullmatch(line)
    if found is None or not is_sendable(found["token"]):
        raise ConfigError(f"{where}: expected NAME SCOPE TOKEN, or sha256:HEX in place of the token")
    if found["name"] in TAKEN_NAMES:
        raise ConfigError(f"{where}: {found['name']} is a name that the audit gives to others")
    if found["scope"] not in [*Scope]:
        raise ConfigError(f"{where}: the scope is one of {', '.join(Scope)}")
    hashed = DIGEST.fullmatch(found["token"])
    if hashed is None and found["token"].startswith("sha256:"):
        raise ConfigError(f"{where}: a SHA-256 has 64 hexadecimal digits")
    made = bytes.fromhex(hashed["hex"]) if hashed else digest(found["token"])
    return Token(found["name"], Scope(found["scope"]), made)
