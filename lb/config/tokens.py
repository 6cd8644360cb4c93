"""The tokens file: the operators' tokens and certificates, each with a name and a scope.

Each line has a name, a scope, and the token or its SHA-256, with which the file holds no secret
(`printf %s TOKEN | sha256sum` prints it), or what a certificate says of its owner:

    # name     scope   token
    grafana    read    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    deploy     drain   dGhlIHJvbGxpbmcgb25l
    alice      admin   subject:CN=Alice Smith,O=Example
    rollout    drain   san:spiffe://example/rollout
"""

import hashlib
import re
from collections.abc import Iterator

import msgspec

from lb.config import secret_file
from lb.config.secret_file import is_sendable
from lb.config.token_scope import Scope
from lb.errors import ConfigError

LINE = re.compile(r"(?P<name>[\w.@~-]{1,64})\s+(?P<scope>\S+)\s+(?P<token>\S+)", re.ASCII)
OF_CERTIFICATE = re.compile(
    r"(?P<name>[\w.@~-]{1,64})\s+(?P<scope>\S+)\s+(?P<owner>(?:subject|san):\S.*)", re.ASCII
)
OWNERS = ("subject:", "san:")
DIGEST = re.compile(r"sha256:(?P<hex>[0-9a-fA-F]{64})")
TAKEN_NAMES = frozenset({"anonymous", "signal"})
"""Names that the audit trail uses itself: for a caller without a token, and for a SIGHUP."""


class Token(msgspec.Struct, frozen=True):
    """One token, kept as its SHA-256 only, so that memory and messages never show it; or a certificate.

    Of a certificate there is no digest, but `owner`: `subject:` and its subject as RFC 4514 writes it, or
    `san:` and one of its names.
    """

    name: str
    scope: Scope
    digest: bytes
    owner: str = ""


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


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
    for what, said in (("name", "name"), ("digest", "token"), ("owner", "certificate")):
        values = [value for token in tokens if (value := getattr(token, what))]
        if len(set(values)) < len(values):
            raise ConfigError(f"{where}: two lines have the same {said}")
    return tokens


def _lines(text: str, where: str) -> Iterator[Token]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _token(line.strip(), f"{where}, line {number}")


def _is_token(text: str) -> bool:
    return is_sendable(text) and not text.startswith(OWNERS)


def _token(line: str, where: str) -> Token:
    of_certificate = OF_CERTIFICATE.fullmatch(line)
    found = of_certificate or LINE.fullmatch(line)
    if found is None or not (of_certificate or _is_token(found["token"])):
        raise ConfigError(
            f"{where}: expected NAME SCOPE TOKEN; sha256:HEX, subject:TEXT or san:TEXT in place of the token"
        )
    if found["name"] in TAKEN_NAMES:
        raise ConfigError(f"{where}: {found['name']} is a name that the audit gives to others")
    if found["scope"] not in [*Scope]:
        raise ConfigError(f"{where}: the scope is one of {', '.join(Scope)}")
    if of_certificate:
        return Token(found["name"], Scope(found["scope"]), b"", found["owner"])
    hashed = DIGEST.fullmatch(found["token"])
    if hashed is None and found["token"].startswith("sha256:"):
        raise ConfigError(f"{where}: a SHA-256 has 64 hexadecimal digits")
    made = bytes.fromhex(hashed["hex"]) if hashed else digest(found["token"])
    return Token(found["name"], Scope(found["scope"]), made)
