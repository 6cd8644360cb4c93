"""What is suggested for values that are not right."""

from typing import get_args, get_type_hints

import pytest

from lb.config.decode import Reader
from lb.settings import meant_values
from lb.settings.backend_spec import BackendSpec, parse_url
from lb.settings.balancer_settings import Config
from lb.settings.meant_values import LONGEST
from lb.settings.pool_settings import POLICIES, Hash, Probe
from lb.settings.values import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(
            ("30", "30s"),
            ("30 sec", "30s"),
            ("30S", "30s"),
            ("2min", "2m"),
            ("2 minutes", "2m"),
            ("1d", "24h"),
        ),
        *(("1,5s", "1.5s"), ("1m30s", "90s"), ("1h1m", "3660s"), ("200 msec", "200ms"), ("1 hour", "1h")),
    ],
)
def test_durations(text: str, meant: str) -> None:
    assert meant_values.duration(text) == meant
    assert parse_duration(meant) >= 0
    with pytest.raises(ValueError, match=f"got '{text}'; did you mean \"{meant}\"\\?$"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "off", "soon", "3 days ago", "-1s", "3 fortnights"])
def test_nothing_is_suggested_for_other_durations(text: str) -> None:
    assert meant_values.duration(text) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10M", "10MiB"),
        ("10m", "10MiB"),
        ("64K", "64KiB"),
        ("1g", "1GiB"),
        ("10 mb", "10MB"),
        ("5 bytes", "5B"),
    ],
)
def test_sizes(text: str, meant: str) -> None:
    assert parse_size(meant) > 0
    with pytest.raises(ValueError, match=f"got '{text}'; did you mean \"{meant}\"\\?$"):
        parse_size(text)


def test_nothing_is_suggested_for_other_sizes() -> None:
    assert meant_values.size("unlimited") is None


def test_policies_of_others_have_one_of_ours() -> None:
    assert {*meant_values.POLICIES.values()} <= {*POLICIES}
    assert meant_values.policy("Least-Conn") == "least_requests"
    assert meant_values.policy("first") is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1", "http://127.0.0.1"),
        (":3000", "http://127.0.0.1:3000"),
        ("*:3000", "http://127.0.0.1:3000"),
        ("3000", "http://127.0.0.1:3000"),
        ("http://localhost:3000/api", "http://localhost:3000"),
        ("https://a.test/x?y", "https://a.test"),
        ("http:/a:80", "http://a:80"),
        ("http//a:80", "http://a:80"),
        ("http:a:80", "http://a:80"),
        ("tcp://a:80", "http://a:80"),
        ("http://u:p@a:80", "http://a:80"),
        ("http://a:80,http://b:80", "http://a:80"),
        ("http://a:80 weight=5", "http://a:80"),
        ("http://::1:3000", "http://[::1]:3000"),
        ("web1=http://a:80", "http://a:80"),
        ("/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/app.sock", "unix:/run/app.sock"),
        ("http://unix:/run/app.sock", "unix:/run/app.sock"),
    ],
)
def test_urls_of_backends(text: str, meant: str) -> None:
    assert parse_url(meant)
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        parse_url(text)
    assert str(caught.value).endswith(f'; did you mean "{meant}"?')


@pytest.mark.parametrize(
    "text", ["", "http://", "http://a:99999", "http://a:0", "ftp://a", "-", "a b" * LONGEST]
)
def test_nothing_is_suggested_for_other_urls(text: str) -> None:
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        parse_url(text)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            17080,
            'expected an address in quotes, "127.0.0.1:17080", or ":17080" for every interface; got 17080',
        ),
        ("17080", 'did you mean ":17080"?'),
        ("localhost", 'did you mean "localhost:8080"?'),
        ("*:80", 'did you mean ":80"?'),
        ("http://127.0.0.1:80/", 'did you mean "127.0.0.1:80"?'),
        ("https://a.test", 'did you mean "https://a.test:8443"?'),
        ("::1:80", 'did you mean "[::1]:80"?'),
        (70000, "expected text in quotes, got 70000"),
        (True, "expected text in quotes, got true"),
    ],
)
def test_addresses_to_listen_on(value: object, said: str) -> None:
    [mistake] = _mistakes(get_type_hints(Config, include_extras=True)["listen"], [value])
    assert said in mistake


@pytest.mark.parametrize("value", [":99999", "fd://x", "unix:", "a b:1"])
def test_nothing_is_suggested_for_other_addresses(value: str) -> None:
    [mistake] = _mistakes(get_type_hints(Config, include_extras=True)["listen"], [value])
    assert "did you mean" not in mistake


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("host", "a.test:80", 'did you mean "a.test"?'),
        ("host", "http://a.test/", 'did you mean "a.test"?'),
        ("host", ".a.test", 'did you mean "*.a.test"?'),
        ("host", "*", "; for every host leave it out"),
        ("path", "api", 'did you mean "/api"?'),
        (
            "path",
            "^/api/.*$",
            "'^/api/.*$': there are no regular expressions; /api also takes what is below it",
        ),
        ("path", "~ ^/api", "there are no regular expressions; /api also takes what is below it"),
        ("path", "/api/.*", "there are no regular expressions; /api also takes what is below it"),
        ("path", "/api/*", "ends in a * as if that were any text; /api also takes what is below it"),
        ("host", "~^(a|b).test$", "there are no regular expressions; *.example.com is every name below it"),
    ],
)
def test_routes(key: str, value: str, said: str) -> None:
    [route] = [each for each in get_args(get_type_hints(Config)["routes"]) if each is not Ellipsis]
    [mistake] = _mistakes(route, {"pool": "default", key: value})
    assert mistake.endswith(said)


@pytest.mark.parametrize(
    ("struct", "table", "said"),
    [
        (Probe, {"status": "2xx"}, 'did you mean "200-299"?'),
        (Probe, {"path": "healthz"}, 'did you mean "/healthz"?'),
        (Probe, {"path": "http://a:80/healthz"}, 'did you mean "/healthz"?'),
        (Hash, {"key": "ip"}, 'did you mean "address"?'),
        (Hash, {"key": "header:X-Id"}, 'did you mean "field:X-Id"?'),
        (BackendSpec, {"url": "a:80"}, 'did you mean "http://a:80"?'),
    ],
)
def test_keys_of_pools(struct: type, table: dict[str, object], said: str) -> None:
    [mistake] = _mistakes(struct, table)
    assert mistake.endswith(said)


def _mistakes(hint: object, value: object) -> list[str]:
    reader = Reader()
    reader.value(hint, value, "key")
    return reader.mistakes
