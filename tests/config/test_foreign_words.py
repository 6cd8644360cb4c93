"""What those are told who write what other load balancers call a thing."""

import pytest

from lb.config.foreign_words import ABSENT, OURS, ours
from lb.config.key_places import told
from lb.config.loader import parse
from lb.errors import ConfigError


def mistake(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.mistakes[0]


@pytest.mark.parametrize("kind", OURS)
def test_every_word_names_a_key_that_there_is(kind: str) -> None:
    for key, words in OURS[kind].items():
        assert told(key, "")
        for word in words.split():
            assert ours(word, kind.replace("pools.x", "pools.web"))


@pytest.mark.parametrize("keys", [*OURS.values(), {"": " ".join(ABSENT.values())}])
def test_no_word_is_there_twice(keys: dict[str, str]) -> None:
    words = [word for each in keys.values() for word in each.split()]
    assert sorted(words) == sorted({*words})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("upstream = 'http://a'", "upstream: unknown key; here it is [[pools.default.backends]]"),
        ("[[server]]\nurl = 'http://a'", "server: unknown key; here it is [[pools.default.backends]]"),
        ("proxy_pass = 'http://a'", "here it is [[pools.default.backends]]"),
        ("[pool.web]\n", "pool: unknown key, did you mean `pools`?"),
        ("timeout = 30", "timeout: unknown key, did you mean `timeouts`?"),
        ("proxy_read_timeout = '5s'", "here it is `response_head` below [timeouts]"),
        ("client_max_body_size = '10m'", "here it is `request_body` below [limits]"),
        ("worker_processes = 'auto'", "here it is `workers`"),
        ("maxconn = 100", "here it is `connections` below [limits]"),
        ("bind = ':80'", "here it is `listen`"),
        ("entryPoints.web.address = ':80'", "entryPoints: unknown key; here it is `listen`"),
        ("ssl_certificate = 'a.pem'", "here it is [[tls.certificates]]"),
        ("server_name = 'a.test'", "here it is [[routes]]"),
        ("gzip = true", "there is none: a server behind or in front of this one has to do it"),
        ("pools.web.balance = 'leastconn'", "here it is `policy`"),
        ("pools.web.lb_policy = 'first'", "here it is `policy`"),
        ("pools.web.health_check = '/x'", "here it is [pools.web.probe]"),
        ("pools.'a.b'.health_check = '/x'", 'here it is [pools."a.b".probe]'),
        ("pools.web.max_fails = 3", "here it is `consecutive` below [pools.web.ejection]"),
        ("pools.web.retries = 3", "here it is `attempts` below [pools.web.retry]"),
        ("pools.web.timeout = '5s'", "here it is [timeouts]"),
        ("pools.web.timeouts.connect = '5s'", "pools.web.timeouts: unknown key; it is [timeouts]"),
        ("pools.web.weight = 5", "it belongs below [[pools.web.backends]]"),
        ("pools.web.servers = ['http://a']", "here it is [[pools.web.backends]]"),
        (
            "[[pools.web.backends]]\nurl = 'http://a'\nmax_fails = 3",
            "`consecutive` below [pools.web.ejection]",
        ),
        (
            "[[pools.web.backends]]\nurl = 'http://a'\nport = '80'",
            "backends[0].port: unknown key; here it is `url`",
        ),
        ("[[pools.web.backends]]\nurl = 'http://a'\ncheck = true", "here it is [pools.web.probe]"),
        ("pools.web.probe.uri = '/x'", "here it is `path`"),
        ("tls.cert = 'a.pem'", "here it is `chain` below [[tls.certificates]]"),
        ("admin.port = 9000", "admin.port: unknown key; here it is `listen`"),
        ("limits.body = '1m'", "limits.body: unknown key, did you mean `request_body`?"),
        ("timeouts.response = 1", "did you mean `response_head` or `response_idle`?"),
        ("timeouts.server = 1", "here it is `response_head`"),
        ("timeouts.client = 1", "here it is `body_idle`"),
        ("timeouts.read = 1", "here it is `response_head`"),
        ("timeouts.idle = 1", "here it is `keepalive`"),
        ("timeouts.check = 1", "here it is `timeout` below [pools.default.probe]"),
        ("limits.max_conn = 1", "here it is `connections`"),
        (
            "[server]\nlisten = '80'",
            "server: unknown key; here `listen` says where, and [[routes]] which pool",
        ),
        ("[server]\nurl = 'http://a'", "server: unknown key; here it is [[pools.default.backends]]"),
        ("[upstream.web]\nserver = 'http://a'", "upstream: unknown key; here it is [[pools.web.backends]]"),
        ("[[upstream.'a.b']]\nurl = 'http://a'", 'here it is [[pools."a.b".backends]]'),
        ("[backends.web]\nurl = 'http://a'", "it is [[pools.web.backends]]"),
        ("[defaults]\nmode = 'http'", "there is none: a key that is left out has its default"),
        ("pools.a.keepalive = 32", "here it is `idle_per_backend` below [limits]"),
        ("pools.a.backends = [{ url = 'http://a', down = true }]", "here it is `weight`: weight = 0"),
        ("tls.certificate = 'a.pem'", "tls.certificate: unknown key, did you mean [[tls.certificates]]?"),
        (
            "[[listen]]\naddress = ':80'",
            "listen: expected a list of plain values, listen = [...], got a table",
        ),
        ("[admin]\nallowed_hosts = [{ a = 1 }]", "plain values, admin.allowed_hosts = [...], got a table"),
        ("tls.body = 1", "tls.body: unknown key; it belongs below [pools.default.probe] or below "),
        ("[[routes]]\npool = 'default'\nprefix = '/x'", "here it is `path`"),
        ("[[routes]]\npool = 'default'\nstrip_prefix = '/x'", "a route only chooses a pool"),
    ],
)
def test_a_word_of_others_is_told_by_ours(text: str, said: str) -> None:
    assert said in mistake(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "pools.a.probe = '/healthz'",
            "expected a table, got '/healthz'; did you mean probe.path = \"/healthz\"?",
        ),
        ("pools.a.probe = true", "did you mean probe = {}?"),
        ("pools.a.hedge = false", "without its table there is none, so leave it out"),
        ("pools.a.retry = 3", "did you mean retry.attempts = 3?"),
        ("pools.a.retry = true", "expected a table, got true; its keys stand below [pools.a.retry]"),
        ("pools.a.backends = 3000", "each one begins with [[pools.a.backends]]"),
        ("pools.a = 'http://a'", 'did you mean a.backends = "http://a"?'),
        ("admin = ':9000'", 'did you mean admin.listen = ":9000"?'),
        ("admin = false", "did you mean admin.enabled = false?"),
        ("access_log = false", 'did you mean access_log = "off"?'),
        ("access_log = '/var/log/lb.log'", 'did you mean access_log.file = "/var/log/lb.log"?'),
        ("timeouts = 30", "expected a table, got 30; its keys stand below [timeouts]"),
        ("tls.certificates = 'a.pem'", 'did you mean certificates = [{ chain = "a.pem" }]?'),
        ("tls.certificates = ['a.pem']", 'did you mean { chain = "a.pem" }?'),
        ("routes = [3]", "routes[0]: expected a table, got 3"),
        ("log_level = 'INFO'", "expected one of debug, info, warning, error, got 'INFO'; did you mean info?"),
        ("log_level = 'warn'", "did you mean warning?"),
        ("pools.a.proxy_protocol = 5", "expected one of 0, 1, 2, got 5"),
        ("pools.a.proxy_protocol = '1'", "expected one of 0, 1, 2, got '1'"),
        ("workers = 'four'", "a whole number from 1 to 256, not 'four'"),
        ("workers = '4'", "a whole number from 1 to 256 without quotes, not '4'"),
    ],
)
def test_a_plain_value_in_place_of_a_table(text: str, said: str) -> None:
    assert said in mistake(text)
