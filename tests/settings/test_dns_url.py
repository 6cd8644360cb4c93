"""What a source asks name servers for, and which name servers there are."""

import pytest

from lb.settings.dns_url import DnsUrl, parse_dns_url, parse_name_server


@pytest.mark.parametrize(
    ("text", "name", "scheme", "port", "is_service"),
    [
        ("http://web.example:8000", "web.example", "http", 8000, False),
        ("http://web", "web", "http", 80, False),
        ("https://web.example", "web.example", "https", 443, False),
        ("http://Web.Example.:8000", "web.example", "http", 8000, False),
        ("srv://_http._tcp.web.example", "_http._tcp.web.example", "http", None, True),
        ("srvs://_http._tcp.web.example.", "_http._tcp.web.example", "https", None, True),
        ("srv://_http._tcp.web.example:8000", "_http._tcp.web.example", "http", 8000, True),
        (f"http://{'a' * 63}.example", f"{'a' * 63}.example", "http", 80, False),
    ],
)
def test_what_is_asked_for(text: str, name: str, scheme: str, port: int | None, is_service: bool) -> None:
    assert parse_dns_url(text) == DnsUrl(name=name, scheme=scheme, port=port, is_service=is_service)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("web.example", "expected http://name:port"),
        ("web.example:8000", "expected http://name:port"),
        ("unix://web", "expected http://name:port"),
        ("ftp://web.example", "expected http://name:port"),
        ("srv://", "nothing more"),
        ("http://10.0.0.1:8000", "is an address"),
        ("http://[fd00::1]:8000", "is an address"),
        ("http://web.example:0", "nothing more"),
        ("http://web.example/path", "nothing more"),
        ("srv://web.example/path", "'srv://web.example/path': expected"),
        ("http://web..example", "no name of DNS"),
        (f"http://{'a' * 64}.example", "no name of DNS"),
        (f"http://{'a.' * 126}ab", "no name of DNS"),
    ],
)
def test_what_cannot_be_asked_for(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_dns_url(text)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.2", ("10.0.0.2", 53)),
        ("10.0.0.2:8600", ("10.0.0.2", 8600)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[fd00::2]:8600", ("fd00::2", 8600)),
        ("fe80::1%eth0", ("fe80::1%eth0", 53)),
        ("[fe80::1%eth0]:53", ("fe80::1%eth0", 53)),
    ],
)
def test_name_servers(text: str, server: tuple[str, int]) -> None:
    assert parse_name_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns.example",
        "10.0.0.2:",
        "10.0.0.2:0",
        "10.0.0.2:65536",
        "[10.0.0.2]:53",
        "10.0.0.2%eth0",
        "fe80::1%",
    ],
)
def test_no_name_servers(text: str) -> None:
    with pytest.raises(ValueError, match="expected the address of a name server"):
        parse_name_server(text)
