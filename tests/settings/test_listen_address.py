"""The addresses that we accept on."""

import pytest

from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress, bare_address, parse_address


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
        ("https://:443", TcpAddress("", 443, is_tls=True)),
        ("https://[::1]:8443", TcpAddress("::1", 8443, is_tls=True)),
        ("https://fd://3", FdAddress(3, is_tls=True)),
        ("https://unix:/run/lb.sock", UnixAddress("/run/lb.sock", is_tls=True)),
        ("proxy+https://a.test:443", TcpAddress("a.test", 443, is_tls=True, takes_proxy_header=True)),
        ("proxy+http://:80", TcpAddress("", 80, takes_proxy_header=True)),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "8080", "a:", "a:65536", "a:-1", "a:+1", "a:8 0", "a b:1", "::1:80", "[a]:80", "[::1]"),
        *("[fe80::1%]:80", "[fe80::1%a/b]:80", "127.0.0.1%lo:80", "a%lo:80", "%lo:80"),
        *("https://", "https://a", "https://a/", "https://:443/", "HTTPS://:443", "proxy+:80", "proxy://:80"),
        *("https://https://:443", "https://proxy+http://:80", "proxy+https://"),
        *("*:80", "a:٣", "fd://", "fd://x", "fd://²", "unix:", "http://a:80"),
    ],
)
def test_invalid_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("text", [":443", "unix:/run/lb.sock", "fd://3"])
def test_what_is_spoken_is_no_part_of_the_address(text: str) -> None:
    for scheme in ("", "https://", "proxy+https://", "proxy+http://"):
        assert bare_address(scheme + text) == text
