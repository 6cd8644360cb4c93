"""What the access log says of TLS."""

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lb.core.secured import Secured
from lb.observe.access_log import json_line, text_line
from tests.kit.certificates import certificate
from tests.observe.test_access_log import exchange_of, wall

CLIENT = certificate(subject='worker "7"').certificate.public_bytes(Encoding.DER)


def secured(shown: bytes | None = None, is_resumed: bool = False, name: str = "www.test") -> Secured:
    return Secured(name, "TLSv1.3", "TLS_AES_128_GCM_SHA256", is_resumed, shown, None, False)


def test_a_json_line_has_what_the_handshake_agreed_on() -> None:
    exchange = exchange_of()
    exchange.secured = secured(CLIENT)
    assert msgspec.json.decode(json_line(exchange, wall))["tls"] == {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "resumed": False,
        "server_name": "www.test",
        "client_subject": r'CN=worker \x5c"7\x5c"',
    }


def test_a_line_of_plain_http_says_nothing_of_it() -> None:
    assert "tls" not in msgspec.json.decode(json_line(exchange_of(), wall))
    assert b"TLS" not in text_line(exchange_of(), wall)


@pytest.mark.parametrize(
    ("agreed", "words"),
    [
        (secured(), b" TLSv1.3 for www.test\n"),
        (secured(is_resumed=True), b" TLSv1.3 resumed for www.test\n"),
        (secured(name=""), b" TLSv1.3 for no name\n"),
        (secured(CLIENT), rb' TLSv1.3 for www.test by "CN=worker \x5c\x227\x5c\x22"' + b"\n"),
    ],
)
def test_a_text_line_ends_with_it(agreed: Secured, words: bytes) -> None:
    exchange = exchange_of()
    exchange.secured = agreed
    assert text_line(exchange, wall).endswith(words)
