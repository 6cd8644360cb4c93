"""`[tls.acme]`: certificates that are ordered and renewed by themselves (RFC 8555)."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

DIRECTORIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
"""Words for the directories that are used most."""
FROM_ROUTES = "routes"
MOST_NAMES = 10_000
MOST_DIRECTORIES = 8
LONGEST_NAME = 253
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ADDRESS = re.compile(r"[^\s@,?;:<>\"]+@[^\s@,?;:<>\"]+", re.ASCII)


def is_certifiable(name: str) -> bool:
    """Whether this is a name, in lower case, that a challenge over HTTP or TLS can prove."""
    labels = name.split(".")
    return (
        len(name) <= LONGEST_NAME
        and len(labels) > 1
        and not labels[-1].isdigit()
        and all(LABEL.fullmatch(label) for label in labels)
    )


def certifiable_name(value: object) -> str:
    """The name in lower case and without a final dot; ValueError says why it cannot have a certificate."""
    name = msgspec.convert(value, str).lower().removesuffix(".")
    if name.startswith("*."):
        raise ValueError(
            f"{value!r} is a wildcard, which http-01 and tls-alpn-01 cannot prove; list the names one by one"
        )
    if not name.isascii():
        raise ValueError(f"{value!r} has letters beyond ASCII; write it as it is in DNS, with xn--")
    if not is_certifiable(name):
        raise ValueError(f"{value!r} is not a whole name in DNS such as www.example.com")
    return name


def names(value: object) -> tuple[str, ...] | Literal["routes"]:
    """The names, each once, or "routes"."""
    if value == FROM_ROUTES:
        return "routes"
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given:
        raise ValueError(f'expected "{FROM_ROUTES}", or names, got {value!r}')
    if len(given) > MOST_NAMES:
        raise ValueError(f"more than {MOST_NAMES} names")
    return tuple(dict.fromkeys(certifiable_name(each) for each in given))


def directories(value: object) -> tuple[str, ...]:
    """The directories in their order: each a word of DIRECTORIES or a URL."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not words:
        raise ValueError(f"expected {_expected()}, or a list of them, got {value!r}")
    if len(words) > MOST_DIRECTORIES:
        raise ValueError(f"more than {MOST_DIRECTORIES} directories")
    found = tuple(_directory(each) for each in words)
    if len({directory_url(each) for each in found}) < len(found):
        raise ValueError(f"{value!r} names a directory twice")
    return found


def _directory(value: object) -> str:
    text = msgspec.convert(value, str)
    try:
        parts = urlsplit(text)
        is_url = parts.scheme == "https" and bool(parts.hostname) and text.isprintable() and " " not in text
    except ValueError:
        is_url = False
    if text not in DIRECTORIES and not is_url:
        raise ValueError(f"expected {_expected()}, got {text!r}")
    return text


def _expected() -> str:
    return f"{', '.join(DIRECTORIES)} or an https URL"


def directory_url(directory: str) -> str:
    """The URL of a directory that was named by its word or by its URL."""
    return DIRECTORIES.get(directory, directory)


def contacts(value: object) -> tuple[str, ...]:
    """Addresses of mail; a single one need not be in a list."""
    addresses = [value] if isinstance(value, str) else value
    if not isinstance(addresses, list | tuple):
        raise ValueError(f"expected an address such as ops@example.com, or a list of them, got {value!r}")
    found = tuple(msgspec.convert(each, str).removeprefix("mailto:") for each in addresses)
    for each in found:
        if not ADDRESS.fullmatch(each):
            raise ValueError(f"{each!r} is not an address such as ops@example.com")
    return found


def path(value: object) -> str:
    text = msgspec.convert(value, str)
    if not text or "\0" in text:
        raise ValueError("expected a path")
    return text


Path = Annotated[str, path]


class ExternalAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account that the authority wants you to have with it (EAB, RFC 8555 section 7.3.4)."""

    directory: str = ""
    """Whose it is, as in `directory` above; the only one unless set."""
    key_id: str
    """Given out by the authority."""
    key_file: Path
    """A file with the key, as base64url."""


class AcmeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates that are ordered and renewed by themselves, one for each name.

    A certificate is renewed when the authority asks for it (ARI), otherwise when a third of its lifetime is
    left, or half where that is below ten days. After a failure it is tried again after a minute, ten, an
    hour, then daily; restarts do not forget that. Until the first one is there handshakes for the name are
    refused, and plain requests are served. Wildcards need DNS, so they stay files.
    """

    names: Annotated[tuple[str, ...] | Literal["routes"], names]
    """Names that lead here already, or "routes": the hosts of all routes but those that have a certificate
    of files."""
    storage: Path
    """A folder for accounts and certificates, with the keys: keep a copy, and keep it to yourself.
    Balancers may share it (NFS with locks too): one of them orders, any answers the challenge, and the
    others have the new certificate within a minute."""
    directory: Annotated[tuple[str, ...], directories] = ("letsencrypt",)
    """"letsencrypt", or "staging" to try things out (believed by nobody, wide limits), or a URL; the next
    one where one fails."""
    contact: Annotated[tuple[str, ...], contacts] = ()
    """Addresses of mail that the authority gets."""
    terms_agreed: bool = False
    """true: you have read the terms of these authorities, and agree."""
    challenge: Literal["http-01", "tls-alpn-01"] = "http-01"
    """http-01: proved at port 80. tls-alpn-01: at port 443."""
    eab: tuple[ExternalAccount, ...] = ()
    """See [[tls.acme.eab]]."""
    ca: Annotated[str, path] | None = None
    """A file of authorities that vouch for the directory's own TLS; public ones unless set."""

    def checked(self) -> "AcmeSettings":
        """These settings; ValueError that names the key where they contradict each other."""
        for word in self.directory:
            if word in DIRECTORIES and not self.terms_agreed:
                raise ValueError(
                    f"terms_agreed: {word} gives certificates only to those who agree to its terms, "
                    "https://letsencrypt.org/repository; read them and set it to true"
                )
        accounts = [(at, each) for at, each in enumerate(self.eab) if each is not None]  # None: a mistake
        for index, account in accounts:
            if account.directory not in self.directory and (account.directory or len(self.directory) > 1):
                raise ValueError(
                    f"eab[{index}].directory: expected one of {', '.join(self.directory)}, "
                    f"got {account.directory!r}"
                )
        if len({self._owner(account) for _, account in accounts}) < len(accounts):
            raise ValueError("eab: two of them are for the same directory")
        return self

    def external_account(self, directory: str) -> ExternalAccount | None:
        """The one for this directory."""
        return next((each for each in self.eab if self._owner(each) == directory), None)

    def _owner(self, account: ExternalAccount) -> str:
        return account.directory or self.directory[0]


def wanted_names(settings: AcmeSettings, route_hosts: Iterable[str | None]) -> tuple[str, ...]:
    """The names that are to have certificates, where the routes have these hosts (None: any host).

    Hosts that cannot have one, such as wildcards, addresses and names of one word, are left out.
    """
    if isinstance(settings.names, tuple):
        return settings.names
    return tuple(dict.fromkeys(host for host in route_hosts if host is not None and is_certifiable(host)))
