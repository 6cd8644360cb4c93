"""The addresses that we accept on."""

import pytest

from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", TcpAddress("127.0.0.1", 8080)),
        ("localhost:0", TcpAddress("localhost", 0)),
        (":65535", TcpAddress("", 65535)),
        ("[::1]:8080", TcpAddress("::1", 8080)),
        ("[::]:80", TcpAddress("::", 80)),
        ("[fe80::1%lo]:80", TcpAddress("fe80::1%lo", 80)),
        ("fd://3", FdAddress(3)),
        ("unix:/run/lb.sock", UnixAddress("/run/lb.sock")),
        ("unix:lb.sock", UnixAddress("lb.sock")),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "8080", "a:", "a:65536", "a:-1", "a:+1", "a:8 0", "a b:1", "::1:80", "[a]:80", "[::1]"),
        *("[fe80::1%]:80", "[fe80::1%a/b]:80", "127.0.0.1%lo:80", "a%lo:80", "%lo:80"),
        *("*:80", "a:٣", "fd://", "fd://x", "fd://²", "unix:", "http://a:80"),
    ],
)
def test_invalid_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_address(text)
