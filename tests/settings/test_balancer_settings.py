"""The defaults, and the limit of connections where it is not set."""

import resource

import msgspec
import pytest

from lb.settings.balancer_settings import Limits, Timeouts, connection_limit


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert msgspec.structs.asdict(Timeouts()) == {
        "connect": 5,
        "handshake": 10,
        "request_head": 10,
        "body_idle": 30,
        "response_head": 60,
        "response_idle": 60,
        "send": 60,
        "keepalive": 60,
        "request": 0,
        "tunnel_half_open": 10,
        "backend_idle": 1.5,
        "backend_age": 3600,
        "tunnel_idle": 3600,
        "queue": 30,
        "drain": 60,
        "shutdown_delay": 0,
        "grace": 30,
        "upgrade": 60,
    }
    assert msgspec.structs.asdict(Limits()) == {
        "request_head": 16384,
        "target": 8192,
        "fields": 100,
        "request_body": None,
        "body_rate": 240,
        "response_head": 65536,
        "held": 67108864,
        "connections": None,
        "connections_per_address": None,
        "connections_per_certificate": None,
        "handshakes": 256,
        "requests_per_connection": 1000,
        "requests_per_backend_connection": 1000,
        "idle_per_backend": 32,
    }


@pytest.mark.parametrize(("soft", "limit"), [(1024, 460), (1, 1), (resource.RLIM_INFINITY, 1_000_000)])
def test_the_limit_of_connections_leaves_descriptors_for_backends(
    monkeypatch: pytest.MonkeyPatch, soft: int, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, resource.RLIM_INFINITY))
    assert connection_limit(Limits()) == limit
    assert connection_limit(Limits(connections=7)) == 7
