"""The rules of a pool's settings: a value is right, or its key is named."""

import pytest

from lb.config.loader import build
from lb.errors import ConfigError
from lb.settings.pool_settings import PoolSettings, codes


def read(**pool: object) -> PoolSettings:
    return build({"pools": {"default": pool}}).pools["default"].settings


def test_everything_has_a_default() -> None:
    assert read() == PoolSettings()
    assert read().probe is None


@pytest.mark.parametrize(
    ("pool", "complaint"),
    [
        ({"policy": "ewm"}, "policy: there is no policy 'ewm', did you mean `ewma`?"),
        ({"policy": "a.b:"}, "policy: there is no policy 'a.b:'"),
        ({"panic": 1.5}, "panic: 1.5 is not between 0 and 1"),
        ({"max_in_flight": 0}, "max_in_flight: 0 is not 1 or more"),
        ({"priority_field": "a b"}, "priority_field: 'a b' is not a token"),
        ({"slow_start": "soon"}, "slow_start: expected a duration"),
        ({"probe": {"path": "healthz"}}, "probe.path: 'healthz' is not a path"),
        ({"probe": {"path": "/a b"}}, "probe.path: '/a b' is not a path"),
        ({"probe": {"host": "a\r\nX: 1"}}, "probe.host: 'a\\r\\nX: 1' is not a host"),
        ({"probe": {"host": ""}}, "probe.host: '' is not a host"),
        ({"probe": {"fields": {"a b": "c"}}}, "probe.fields: 'a b' = 'c' is not a field"),
        ({"probe": {"fields": {"a": "c\r\nd: e"}}}, "is not a field that can be sent"),
        ({"probe": {"fields": {"Host": "c"}}}, "'Host' is not yours to set"),
        ({"probe": {"status": ["2xx"]}}, "probe.status: '2xx' is not a status"),
        ({"probe": {"status": ["300-200"]}}, "probe.status: '300-200' is not a status"),
        ({"probe": {"status": [200] * 51}}, "probe.status: more than 50 statuses"),
        ({"probe": {"status": [10**200]}}, "probe.status: '1000"),
        ({"probe": {"body": "**"}}, "probe.body: '**' is found in any body"),
        ({"probe": {"body": "a", "kind": "tcp"}}, "probe.body: a probe of kind tcp only connects"),
        ({"probe": {"body": "a", "method": "HEAD"}}, "probe.body: an answer to HEAD has none"),
        ({"probe": {"port": 0}}, "probe.port: 0 is not a port"),
        ({"probe": {"rise": 0}}, "probe.rise: 0 is not 1 or more"),
        ({"probe": {"initial": "maybe"}}, "probe.initial: "),
        ({"ejection": {"share": -1}}, "ejection.share: -1 is not between 0 and 1"),
        ({"ejection": {"consecutive": -1}}, "ejection.consecutive: -1 is not 0 or more"),
        ({"retry": {"attempts": True}}, "retry.attempts: "),
        ({"retry": {"body": "lots"}}, "retry.body: expected a size"),
        ({"hash": {"key": "header:X"}}, "hash.key: 'header:X' is not address, certificate, path, "),
        ({"hash": {"load": 1}}, "hash.load: 1 is not 0 (no bound) or between 1 and 100"),
        ({"sticky": {"cookie": "a;b"}}, "sticky.cookie: 'a;b' is not a token"),
        ({"probes": {}}, "probes: unknown key, did you mean `probe`?"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_key(pool: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**pool)
    message = str(caught.value)
    assert message.startswith("pools.default.")
    assert complaint in message
    assert len(message) < 250


def test_pool_settings_have_the_notations_of_the_whole_file() -> None:
    settings = read(
        slow_start="1m",
        probe={"interval": "500ms", "status": [200, "300-302"], "body_bytes": "1KiB", "host": "[::1]:80"},
        retry={"body": "1MiB", "backoff": 0},
        hash={"key": "cookie:session", "load": 0},
    )
    assert settings.slow_start == 60.0
    assert settings.probe is not None
    assert (settings.probe.interval, settings.probe.status) == (0.5, ("200", "300-302"))
    assert (settings.retry.body, settings.retry.backoff) == (1 << 20, 0.0)


def test_codes_of_ranges() -> None:
    assert codes(("200", "503-505")) == {200, 503, 504, 505}
    assert codes(()) == frozenset()


def test_a_status_may_be_of_no_class() -> None:
    settings = read(ejection={"statuses": [999, "600-699"]})
    assert codes(settings.ejection.statuses) == frozenset((999, *range(600, 700)))
