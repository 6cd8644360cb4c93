"""The banner. Its commands must work when they are pasted into a shell."""

import shlex

import pytest

from lb.banner import banner, curl
from lb.config.loader import parse
from lb.settings.balancer_settings import Config

DEMO = parse("demo = true")
URLS = ["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"]


def test_the_demo_says_what_it_is_and_what_to_type() -> None:
    text = banner(DEMO, ["127.0.0.1:18080"], "127.0.0.1:19000", URLS)
    assert "DEMO" in text
    for address in ["http://127.0.0.1:18080", "http://127.0.0.1:19000", *URLS]:
        assert address in text
    assert "lb run --backend http://127.0.0.1:3000" in text
    commands = [shlex.split(line, comments=True) for line in text.splitlines() if "curl" in line]
    assert commands == [
        ["curl", "127.0.0.1:18080"],
        ["curl", "127.0.0.1:19000/backends"],
        ["curl", "-X", "POST", "127.0.0.1:19000/backends/server1/drain?wait=30s"],
    ]


def test_commands_say_https_where_admin_speaks_it() -> None:
    text = banner(DEMO, ["127.0.0.1:8080"], "0.0.0.0:9000", URLS, ["0.0.0.0:9000"])
    assert "admin       https://0.0.0.0:9000" in text
    assert "curl https://127.0.0.1:9000/backends " in text


def test_without_admin_the_demo_shows_no_admin_commands() -> None:
    text = banner(DEMO, ["127.0.0.1:8080"], None, URLS)
    assert text.count("curl") == 1
    assert "9000" not in text


def test_each_listener_has_its_line() -> None:
    listening = ["127.0.0.1:8080", "[::1]:8080", "unix:/run/lb.sock", "127.0.0.1:8443"]
    assert banner(Config(), listening, "127.0.0.1:9000", URLS[:1], listening[3:]).splitlines() == [
        "  listening   http://127.0.0.1:8080",
        "  listening   http://[::1]:8080",
        "  listening   unix:/run/lb.sock",
        "  listening   https://127.0.0.1:8443",
        "  admin       http://127.0.0.1:9000",
        "  backends    1 backend in 1 pool",
    ]


def test_without_backends_the_banner_says_how_to_add_one() -> None:
    text = banner(Config(), ["127.0.0.1:8080"], "127.0.0.1:9000", [])
    assert "0 backends in 1 pool; add one: curl 127.0.0.1:9000/backends -d url=" in text
    assert "add one" not in banner(Config(), ["127.0.0.1:8080"], None, [])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0.0.0.0:80", ["curl", "127.0.0.1:80/a?b=c"]),
        ("[::]:80", ["curl", "[::1]:80/a?b=c"]),
        ("10.0.0.1:80", ["curl", "10.0.0.1:80/a?b=c"]),
        ("unix:/run/a b.sock", ["curl", "--unix-socket", "/run/a b.sock", "http://localhost/a?b=c"]),
    ],
)
def test_a_command_reaches_the_address_from_this_machine(address: str, words: list[str]) -> None:
    assert shlex.split(curl(address, "/a?b=c")) == words
