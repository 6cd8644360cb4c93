"""What handshakes with clients need in one process: its certificates, and a log of what became of them."""

from lb.certificate_files.handshake_log import HandshakeLog
from lb.settings.tls_settings import TlsSettings
from lb.tls.certificates import Certificates
from lb.tls.client_hello import ClientHello
from lb.tls.draft import OfAdmin
from lb.tls.table import Served


class Handshaking:
    """At first it has no certificate, so every handshake is refused."""

    def __init__(self, settings: TlsSettings, admin: OfAdmin | None = None) -> None:
        self._settings = settings
        self.certificates = Certificates(admin=admin)
        self.handshakes = HandshakeLog()

    def choose(self, hello: ClientHello, address: str) -> Served | None:
        """What a client gets that says this; None: it is refused.

        Who asks for an address instead of a name names no server, and means the `address` that it came to.
        """
        return self.certificates.find(hello.server_name or address)

    def choose_for_admin(self, hello: ClientHello, address: str) -> Served | None:
        """What an operator's client gets, as in `choose`."""
        return self.certificates.admin_table.find(hello.server_name or address)

    @property
    def redirects(self) -> bool:
        """Plain requests for a host with a certificate are sent to https."""
        return self._settings.redirect

    def has_certificate(self, host: str) -> bool:
        """A certificate names this host; one that stands in for others does not count."""
        return self.certificates.table.named(host) is not None

    def policy_of(self, host: str) -> object:
        """What this host asks of clients."""
        return self.certificates.table.policy_of(host)

    def needs_certificate(self, host: str) -> bool:
        """Every client of this host has to show a certificate."""
        policy = self.certificates.table.policy_of(host)
        return policy is not None and policy.need == "always"
