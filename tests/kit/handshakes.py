"""Handshakes in memory: a client and a server of Python's, without a socket."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Ended:
    """A handshake that both sides hold to be good."""

    client: ssl.SSLObject
    server: ssl.SSLObject
    to_client: ssl.MemoryBIO
    to_server: ssl.MemoryBIO

    @property
    def shown(self) -> bytes:
        """What the server showed, in DER."""
        found = self.client.getpeercert(binary_form=True)
        assert found is not None
        return found

    def says(self, data: bytes = b"hello") -> bytes:
        """What the client reads when the server says this; sessions of TLS 1.3 come with it."""
        self.server.write(data)
        return self.client.read(1000)


def client_context(
    authorities: str | None = None,
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
    protocols: Sequence[str] = (),
) -> ssl.SSLContext:
    """A client that verifies by these authorities, or does not verify at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version, context.maximum_version = versions
    if authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=authorities)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def handshake(
    client: ssl.SSLContext,
    server: ssl.SSLContext,
    name: str | None = "a.test",
    session: ssl.SSLSession | None = None,
) -> Ended:
    """Let the two shake hands. ssl.SSLError of the side that refuses first, the server's where both do."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    left: list[ssl.SSLObject] = [ours, theirs]
    refused: ssl.SSLError | None = None
    for _ in range(10):
        for side in (*left,):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as exc:  # the other side still has to read the alert
                refused = exc if refused is None or side is theirs else refused
            left.remove(side)
        if not left:
            break
    if refused is not None:
        raise refused
    assert not left
    return Ended(ours, theirs, to_client, to_server)
