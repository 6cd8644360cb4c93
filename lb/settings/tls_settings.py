"""The settings of TLS with clients: our certificates, and what is asked of theirs.

TLS with backends is set for each pool (`lb.settings.pool_settings`). `lb.tls` acts on all of it.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from lb.settings.acme_settings import FROM_ROUTES, AcmeSettings
from lb.settings.values import FilePath, RouteHost, SecondsOrZero, ServerName, TlsVersion

BY_PROFILE: Mapping[str, tuple[TlsVersion, ...]] = {"intermediate": ("1.2", "1.3"), "modern": ("1.3",)}


class CertificateFiles(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate of files, which are looked at every five seconds, links too, and swapped while
    connections live.

    While one cannot be used, its certificate stays as it was, and that is told. Of several for a name the one
    that ends last is served.
    """

    chain: FilePath
    """The leaf first, then each one's issuer (certbot: fullchain.pem)."""
    key: FilePath | None = None
    """Its key; in the chain's file unless set."""


class TlsClients(msgspec.Struct, frozen=True, kw_only=True):
    """Which clients have to show a certificate."""

    hosts: tuple[RouteHost, ...] = ()
    """Names, or `*.example.com`; every host that no other entry names unless set."""
    ca: FilePath
    """A file of the authorities that have issued the certificates."""
    need: Literal["always", "offered"] = "always"
    """offered: a client may also show none. always: not without one, in plain HTTP neither."""
    tell: bool = True
    """Backends get it as Client-Cert (RFC 9440)."""


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """TLS at the listeners with `https://`, the operator's too.

    It needs the package cryptography: pip install 'trio-lb[tls]'. `lb why --tls` explains handshakes that
    were refused, lb_tls_handshake_failures_total counts them, and the log has a line of each reason every
    ten seconds at most.
    """

    profile: Literal["intermediate", "modern"] = "intermediate"
    """Mozilla's: intermediate is TLS 1.2 and 1.3, modern is 1.3 alone."""
    versions: tuple[TlsVersion, ...] = ()
    """Those of the profile that are spoken, such as ["1.2"]; all unless set."""
    redirect: bool = True
    """Plain listeners send clients to https, for hosts that have a certificate."""
    default: ServerName | None = None
    """A name whose certificate clients get that ask for no name, or for one that we do not have; they are
    refused unless set."""
    hsts: SecondsOrZero = 0.0
    """How long browsers shall come over TLS only (Strict-Transport-Security); 0: they are not told."""
    certificates: tuple[CertificateFiles, ...] = ()
    """See [[tls.certificates]]."""
    clients: tuple[TlsClients, ...] = ()
    """See [[tls.clients]]."""
    acme: AcmeSettings | None = None
    """See [tls.acme]."""

    @property
    def spoken(self) -> tuple[TlsVersion, ...]:
        """The versions of TLS that are spoken, the oldest first."""
        return tuple(sorted(self.versions)) or BY_PROFILE[self.profile]

    def checked(self) -> "TlsSettings":
        """These settings; ValueError that names the key where they contradict each other."""
        if len(set(self.versions)) < len(self.versions):
            raise ValueError("versions: one stands there twice")
        fit = BY_PROFILE[self.profile]
        for version in BY_PROFILE["intermediate"]:
            if version in self.versions and version not in fit:
                raise ValueError(f"versions: the profile {self.profile} has no TLS {version}")
        return self

    def is_ordered(self, name: str) -> bool:
        """Whether this name may have a certificate that is ordered, now or later."""
        return self.acme is not None and (self.acme.names == FROM_ROUTES or name in self.acme.names)
