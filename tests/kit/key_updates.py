"""Records that update the keys of a TLS 1.3 connection, which Python's clients cannot be made to send.

They are made from the secret that a context writes to its `keylog_filename` (RFC 8446 sections 4.6.3, 7.2).
"""

import re
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SECRET = re.compile(r"CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)")
HASHES = {32: (SHA256, 16), 48: (SHA384, 32)}
"""The hash by the length of its secrets, and the length of the keys of AES-GCM that go with it."""
HANDSHAKE, CONTENT = b"\x16", b"\x17"
NOT_REQUESTED, REQUESTED = 0, 1


class ClientKeys:
    """The keys of a client that has sent nothing since its handshake, and sends by this from now on."""

    def __init__(self, keylog: Path) -> None:
        found = SECRET.findall(keylog.read_text())
        self._secret = bytes.fromhex(found[-1])
        self._sent = 0

    def _derived(self, label: bytes, length: int) -> bytes:
        hash, _ = HASHES[len(self._secret)]
        label = b"tls13 " + label
        info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(hash(), length, info).derive(self._secret)

    def record(self, data: bytes, kind: bytes = CONTENT) -> bytes:
        """One record with this in it."""
        _, key_length = HASHES[len(self._secret)]
        head = b"\x17\x03\x03" + (len(data) + 1 + 16).to_bytes(2, "big")
        nonce = int.from_bytes(self._derived(b"iv", 12), "big") ^ self._sent
        self._sent += 1
        key = AESGCM(self._derived(b"key", key_length))
        return head + key.encrypt(nonce.to_bytes(12, "big"), data + kind, head)

    def update(self, asks: int = NOT_REQUESTED) -> bytes:
        """A record after which other keys are used; where it asks, the peer shall do so too."""
        made = self.record(b"\x18\x00\x00\x01" + bytes([asks]), HANDSHAKE)
        self._secret, self._sent = self._derived(b"traffic upd", len(self._secret)), 0
        return made
