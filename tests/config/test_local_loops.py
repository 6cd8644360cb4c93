"""Backends that this machine leads to the balancer itself, by a name or by an address of its own."""

import socket

import pytest

from lb.config.loader import build
from lb.config.local_loops import local_loops

Found = tuple[int, int, int, str, tuple[str, int]]
ELSEWHERE = "192.0.2.1"
"""No machine has it: RFC 5737."""


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were asked for, of which one is this machine's."""
    asked: list[str] = []
    known = {"here.test": "127.0.0.1", "there.test": ELSEWHERE}

    def resolve(host: str, port: int, **_options: object) -> list[Found]:
        asked.append(host)
        if host == "nowhere.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known.get(host, host), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def notes(listen: str, *urls: str, admin: str = "127.0.0.1:9") -> list[str]:
    tables = {"listen": [listen], "admin": {"listen": admin}, "pools": {"a": {"backends": [*urls]}}}
    return [*local_loops(build(tables))]


def test_a_name_of_this_machine_at_our_port() -> None:
    assert notes(":80", "http://a.test:81", "http://here.test") == [
        "pools.a.backends[1].url: http://here.test is this balancer itself here (the first of listen)"
    ]
    assert notes("127.0.0.1:80", "http://here.test")
    assert notes(":80", "http://here.test:9000", admin="localhost:9000")


def test_an_address_of_this_machine_is_reached_on_every_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lb.config.local_loops._is_local", lambda _family, address: address == ELSEWHERE)
    assert notes(":80", f"http://{ELSEWHERE}")
    assert notes(f"{ELSEWHERE}:80", "http://there.test")
    assert notes("127.0.0.1:80", f"http://{ELSEWHERE}") == []


@pytest.mark.parametrize(
    "url", ["http://there.test", f"http://{ELSEWHERE}", "http://nowhere.test", "unix:/run/app.sock"]
)
def test_a_backend_elsewhere(url: str) -> None:
    assert notes(":80", url) == []


def test_only_names_at_our_ports_are_asked_for(names: list[str]) -> None:
    assert notes(":80", "http://a.test:81", "http://b.test:82", "unix:/run/app.sock") == []
    assert names == []
