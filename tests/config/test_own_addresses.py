"""Listeners that stand in each other's way, and backends that are this balancer itself."""

from pathlib import Path

import pytest

from lb.config.loader import build
from lb.errors import ConfigError


def mistakes(listen: list[str], admin: str, *urls: str) -> tuple[str, ...]:
    tables = {"listen": listen, "admin": {"listen": admin}, "pools": {"a": {"backends": [*urls]}}}
    try:
        build(tables)
    except ConfigError as exc:
        return exc.mistakes
    return ()


@pytest.mark.parametrize(
    ("listen", "admin", "taken"),
    [
        ([":80"], "127.0.0.1:80", "admin.listen: 127.0.0.1:80 is taken by the first of listen"),
        (["127.0.0.1:80"], "localhost:80", "admin.listen: localhost:80 is taken by the first of listen"),
        (["unix:/a", "unix:/a?mode=0660"], ":9", "listen[1]: unix:/a?mode=0660 is taken by the first"),
        (["fd://3"], "fd://3", "admin.listen: fd://3 is taken by the first of listen"),
        (["[::1]:80", "[::]:80"], ":9", "listen[1]: [::]:80 is taken by the first of listen"),
        (["https://:443", ":443"], ":9", "listen[1]: :443 is taken by the first of listen"),
        (["a.test:80", "A.test:80"], ":9", "listen[1]: A.test:80 is taken by the first of listen"),
        (["unix:/a", "unix:/b/../a"], ":9", "listen[1]: unix:/b/../a is taken by the first of listen"),
    ],
)
def test_two_listeners_at_one_place(listen: list[str], admin: str, taken: str) -> None:
    assert any(taken in each for each in mistakes(listen, admin))


@pytest.mark.parametrize(
    ("listen", "admin"),
    [
        (["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0"),
        (["127.0.0.1:80", "127.0.0.2:80"], "[::1]:80"),
        (["0.0.0.0:80", "[::]:80"], "unix:/a"),
        (["a.test:80", "b.test:80"], ":9"),
    ],
)
def test_listeners_beside_each_other(listen: list[str], admin: str) -> None:
    assert mistakes(listen, admin) == ()


def test_an_admin_side_that_is_off_takes_nothing() -> None:
    assert build({"listen": ":9000", "admin": {"enabled": False}}).listen == (":9000",)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1"),
        (":80", "http://127.0.0.2:80"),
        (":80", "http://localhost"),
        ("127.0.0.1:80", "http://0.0.0.0:80"),
        ("[::]:80", "http://[::1]:80"),
        ("lb.test:80", "http://LB.test"),
        ("lb.test:80", "http://lb.test."),
        ("unix:/run/lb.sock?mode=0660", "unix:/run/lb.sock"),
        ("unix:/run/lb.sock", "unix:/run/x/../lb.sock"),
        ("unix:lb.sock", f"unix:{Path.cwd()}/lb.sock"),
        ("127.0.0.1:80", "http://127.1"),
        ("127.0.0.1:80", "http://2130706433"),
        ("127.0.0.1:80", "http://0x7f.1"),
        ("127.0.0.1:80", "http://0177.0.0.1"),
        ("127.1:80", "http://127.0.0.1"),
        (":80", "http://[::ffff:127.0.0.1]"),
        ("0.0.0.0:80", "http://127.0.0.2"),
    ],
)
def test_a_backend_that_is_our_own_listener(listen: str, url: str) -> None:
    assert mistakes([listen], "127.0.0.1:9", "http://a", url) == (
        f"pools.a.backends[1].url: {url} is this balancer itself (the first of listen)",
    )


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:81"),
        ("127.0.0.1:80", "http://127.0.0.2:80"),
        (":80", "http://10.0.0.1:80"),
        (":80", "http://app.test:80"),
        ("unix:/run/lb.sock", "unix:/run/app.sock"),
        (":80", "http://127.0.0.1:9"),
        ("0.0.0.0:80", "http://[::1]"),
        ("[::]:80", "http://127.0.0.1"),
        ("127.0.0.1:80", "http://127.1.256.1"),
        ("127.0.0.1:80", "http://127.0.0.1.256"),
        ("127.0.0.1:80", "http://4294967296"),
    ],
)
def test_a_backend_that_is_none_of_ours(listen: str, url: str) -> None:
    assert mistakes([listen], "127.0.0.1:9", url) == ()
