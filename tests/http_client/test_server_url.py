"""URLs of servers: which are taken, and what is said of the others."""

import pytest

from lb.http_client.server_url import server_of


@pytest.mark.parametrize(
    ("url", "called", "authority", "target"),
    [
        ("http://a", "http://a:80", "a", "/"),
        ("http://a:8500/web?x=1", "http://a:8500", "a:8500", "/web?x=1"),
        ("https://a.example/", "https://a.example:443", "a.example", "/"),
        ("https://a:80", "https://a:80", "a:80", "/"),
        ("http://[::1]:81/x", "http://[::1]:81", "[::1]:81", "/x"),
        ("http://[fe80::1%25eth0]:81", "http://[fe80::1%eth0]:81", "[fe80::1]:81", "/"),
        ("unix:/var/run/docker.sock", "unix:/var/run/docker.sock", "localhost", "/"),
    ],
)
def test_a_url_is_a_server_and_a_target(url: str, called: str, authority: str, target: str) -> None:
    server, there = server_of(url)
    assert (str(server), server.authority, there) == (called, authority, target)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://a", "expected http://"),
        ("a:80", "expected http://"),
        ("http://", "no host"),
        ("http://a:0", "no host with a port"),
        ("http://a:99999", "out of range"),
        ("http://a b/", "no host"),
        ("http://a/ü", "cannot be asked for"),
        ("http://a/x y", "cannot be asked for"),
        ("http://a/#x", "cannot be asked for"),
        ("unix:docker.sock", "whole path"),
        ("unix:/" + "a" * 200, "at most 107"),
    ],
)
def test_any_other_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        server_of(url)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="user or a password") as caught:
        server_of("http://ann:secret@a/")
    assert "secret" not in str(caught.value)
