"""What a handshake has agreed on, as the requests of its connection need it, and whoever looks at them."""

from typing import NamedTuple


class Secured(NamedTuple):
    """TLS of one client connection, from its handshake on.

    `certificate` is the client's, in DER; None where it showed none. `policy` is what its server name asks of
    clients, and stands for itself: a request for a host with another one came to the wrong connection. With
    `tells` backends get the certificate.
    """

    server_name: str
    version: str
    cipher: str
    is_resumed: bool
    certificate: bytes | None
    policy: object
    tells: bool

    @property
    def told_certificate(self) -> bytes | None:
        return self.certificate if self.tells else None
