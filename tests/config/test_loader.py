"""From the text of `lb.toml` to a Config, with a message for each mistake."""

from pathlib import Path

import pytest

from lb.config.loader import MOST_CONTRADICTIONS, build, load, overlay, parse
from lb.errors import ConfigError
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import (
    AccessLogSettings,
    AdminConfig,
    Config,
    Limits,
    PoolConfig,
    Route,
    Timeouts,
    demo_backends,
)

WHOLE_FILE = """
listen = ["127.0.0.1:8080", "[::1]:8080", "fd://3", "unix:/run/lb.sock"]
state = "/var/lib/lb/state.json"
access_log = "json"
trusted_proxies = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]
forwarded = true
via = "edge-1"

[admin]
listen = "127.0.0.1:9001"
allowed_hosts = ["lb.example.com"]
metrics_open = true

[timeouts]
connect = "500ms"
queue = 1.5
keepalive = "5m"
tunnel_idle = "1h"

[limits]
request_head = "32KiB"
request_body = "10MB"
connections = 100

[pools.default]
policy = "least_requests"
queue = 0

[pools.web]
[[pools.web.backends]]
id = "web1"
url = "http://127.0.0.1:3000"
weight = 5
max_in_flight = 8
labels = { rack = "a" }
[[pools.web.backends]]
url = "http://[::1]:3000"

[[routes]]
host = "*.Example.com"
path = "/api/"
pool = "web"
"""


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [*caught.value.mistakes]


def test_an_empty_file_is_every_default() -> None:
    assert parse("") == Config()
    assert parse("").pools == {"default": PoolConfig()}


def test_f6_6_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "lb.toml"
    file.write_bytes(b"\xef\xbb\xbfvia = 'edge'\n")
    assert load(file).via == "edge"


def test_every_key_of_a_file_is_in_the_config() -> None:
    assert parse(WHOLE_FILE) == Config(
        listen=("127.0.0.1:8080", "[::1]:8080", "fd://3", "unix:/run/lb.sock"),
        state="/var/lib/lb/state.json",
        access_log=AccessLogSettings(format="json"),
        trusted_proxies=("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"),
        forwarded=True,
        via="edge-1",
        admin=AdminConfig(listen="127.0.0.1:9001", allowed_hosts=("lb.example.com",), metrics_open=True),
        timeouts=Timeouts(connect=0.5, queue=1.5, keepalive=300.0, tunnel_idle=3600.0),
        limits=Limits(request_head=32768, request_body=10_000_000, connections=100),
        pools={
            "default": PoolConfig(policy="least_requests", queue=0),
            "web": PoolConfig(
                backends=(
                    BackendSpec(
                        id="web1",
                        url="http://127.0.0.1:3000",
                        weight=5,
                        max_in_flight=8,
                        labels={"rack": "a"},
                    ),
                    BackendSpec(id="__1-3000", url="http://[::1]:3000"),
                )
            ),
        },
        routes=(Route(host="*.example.com", path="/api", pool="web"),),
    )


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[timeouts]\nconect = 3", "timeouts.conect: unknown key, did you mean `connect`?"),
        ("[admin]\nzzz = 1", "admin.zzz: unknown key; there are: listen, enabled, client_ca, "),
        ('"a b" = 1', '"a b": unknown key'),
        ("timeouts = 3", "timeouts: expected a table, got 3"),
        ("listen = ':8080:'", "listen: ':8080:' is not HOST:PORT"),
        ("listen = { a = 1 }", "listen: expected a list of plain values, listen = [...], got a table"),
        ("routes = { pool = 'default' }", "routes: each one begins with [[routes]], in two brackets"),
        ("[pools.a.backends]\nurl = 'http://a'", "begins with [[pools.a.backends]], in two brackets"),
        ("[[backends]]\nurl = 'http://a'", "backends: unknown key; it is [[pools.default.backends]]"),
        ("[pools.a]\nurl = 'http://a'", "pools.a.url: unknown key; it belongs below [[pools.a.backends]]"),
        ("[pools.a]\n[pools.a.probes]", "pools.a.probes: unknown key, did you mean `probe`?"),
        ("connect = '2s'", "connect: unknown key; it belongs below [timeouts]"),
        (
            "[pools.a.probe]\nlisten = ':80'",
            "pools.a.probe.listen: unknown key; `listen` stands below [pools.a.probe] here; keys of the whole"
            " file come before the first [table]",
        ),
        (
            "[[pools.a.backends]]\nurl = 'http://a'\nworkers = 2",
            "workers: unknown key; `workers` stands below [[pools.a.backends]] here",
        ),
        ("[probe]", "probe: unknown key; it is [pools.default.probe]"),
        ("listen = []", "listen: expected one address or more"),
        ("listen = [':80', 8080]", "listen[1]: expected an address in quotes"),
        ("listen = ['8080']", "listen[0]: '8080' is not HOST:PORT"),
        (
            "listen = [':80', 'proxy+http://:80']\nproxy_protocol_from = ['unix']",
            "listen[1]: :80 is taken by the first of listen",
        ),
        ("listen = ['https://a']", "listen[0]: 'https://a' is not HOST:PORT"),
        (
            "listen = ['https://:443']",
            "tls.certificates: https://:443 needs one, and there is neither one nor [tls.acme]",
        ),
        (
            "listen = ['proxy+http://:80']",
            "proxy_protocol_from: proxy+http://:80 needs networks that send",
        ),
        ("proxy_protocol_from = ['a']", "proxy_protocol_from[0]: 'a' does not appear to be"),
        (
            "admin.listen = 'proxy+https://:9000'",
            "admin.listen: 'proxy+https://:9000': expected an address without proxy+",
        ),
        (
            "admin.listen = 'https://unix:/run/admin.sock'",
            "admin.listen: 'https://unix:/run/admin.sock': a Unix socket needs no https://",
        ),
        ("admin.listen = 'https://:9000'", "tls.certificates: https://:9000 needs one, and there is none"),
        (
            "admin.listen = 'https://:9000'\n"
            "tls.acme = { names = ['a.test'], storage = 'a', terms_agreed = true }",
            "tls.certificates: https://:9000 needs one, and there is none",
        ),
        (
            "admin.client_ca = 'ca.pem'\nadmin.tokens_file = 'tokens'",
            "admin.client_ca: clients show certificates where admin.listen begins with https://",
        ),
        (
            "admin.listen = 'https://:9'\nadmin.client_ca = 'ca.pem'\ntls.certificates = [{ chain = 'a' }]",
            "admin.client_ca: admin.tokens_file has to say what each certificate may do",
        ),
        ("tls.versions = ['1.1']", "tls.versions[0]: TLS 1.1 is broken, and no browser speaks it any more"),
        ("tls.versions = ['1.4']", 'tls.versions[0]: expected "1.2" or "1.3", not \'1.4\''),
        ("tls.versions = [1.2]", 'tls.versions[0]: expected "1.2" or "1.3", not 1.2'),
        ("tls.versions = ['1.2', '1.2']", "tls.versions: one stands there twice"),
        (
            "tls.versions = ['1.2', '1.3']\ntls.profile = 'modern'",
            "tls.versions: the profile modern has no TLS 1.2",
        ),
        ("[tls]\nprofile = 'old'", "tls.profile: expected one of intermediate, modern, got 'old'"),
        ("[tls]\ndefault = '*.a.test'", "tls.default: '*.a.test' is not a name such as www.example.com"),
        ("[tls.acme]\nnames = ['www.a.test']", "tls.acme.storage: is missing"),
        (
            "[tls.acme]\nnames = ['*.a.test']\nstorage = 'a'",
            "tls.acme.names: '*.a.test' is a wildcard, which",
        ),
        (
            "[tls.acme]\nnames = 'routes'\nstorage = 'a'",
            "tls.acme.terms_agreed: letsencrypt gives certificates only to those who agree",
        ),
        (
            "[tls.acme]\nnames = 'routes'\nstorage = 'a'\nterms_agreed = true\n"
            "[[tls.acme.eab]]\nkey_id = 'a'",
            "tls.acme.eab[0].key_file: is missing",
        ),
        ("[[tls.certificates]]\nkey = 'a'", "tls.certificates[0].chain: is missing"),
        ("[[tls.certificates]]\nchain = ''", "tls.certificates[0].chain: expected the path of a file"),
        ("[[tls.clients]]\nca = 'a'\nneed = 'no'", "tls.clients[0].need: expected one of always, offered"),
        (
            "[[tls.clients]]\nca = 'a'\nhosts = ['a:1']",
            "tls.clients[0].hosts[0]: 'a:1' is not a host such as",
        ),
        (
            "[[tls.clients]]\nca = 'a'\nhosts = ['a.test']\n[[tls.clients]]\nca = 'b'\nhosts = ['A.test']",
            "tls.clients[1].hosts: a.test is in the first of tls.clients too",
        ),
        (
            "[[tls.clients]]\nca = 'a'\n[[tls.clients]]\nca = 'b'",
            "tls.clients[1].hosts: every other host is in the first of tls.clients too",
        ),
        ("[pools.a.tls]\nkey = 'a'", "pools.a.tls.key: there is no `chain` that it belongs to"),
        ("[pools.a.tls]\nverify = false\nca = 'a'", "pools.a.tls.verify: false, and `ca` says by which"),
        ("[pools.a.tls]\nname = ''", "pools.a.tls.name: '' is not a host such as"),
        ("forwarded = 1", "forwarded: expected true or false, got 1"),
        ("forwarded = 'true'", "forwarded: expected true or false without quotes, got 'true'"),
        ("via = true", "via: expected text in quotes, got true"),
        ("state = 2026-11-23", "state: expected text in quotes, got a date"),
        ("via = 'a b'", "via: 'a b' is not a token"),
        (
            "access_log = 'jsno'",
            "access_log.format: expected one of auto, off, short, text, json, combined, got 'jsno'",
        ),
        ("trusted_proxies = ['10.0.0.1/8']", "trusted_proxies[0]: 10.0.0.1/8 has host bits set"),
        ("[timeouts]\nconnect = '3 days'", "timeouts.connect: expected a duration such as"),
        ("[timeouts]\nconnect = true", "timeouts.connect: expected a duration such as"),
        ("[timeouts]\nconnect = 0", "timeouts.connect: 0 is not more than 0 s"),
        ("[timeouts]\nconnect = '0ms'", "timeouts.connect: '0ms' is not more than 0 s"),
        ("[timeouts]\nconnect = nan", "timeouts.connect: nan is not between 0 s and"),
        ("[timeouts]\nconnect = -1", "timeouts.connect: -1 is not between 0 s and"),
        (f"[timeouts]\nconnect = {'9' * 400}", "is not between 0 s and 1e+09 s"),
        ("[limits]\ntarget = '8 bits'", "limits.target: expected a size such as"),
        ("[limits]\ntarget = 1.5", "limits.target: expected a size such as"),
        ("[limits]\ntarget = 0", "limits.target: 0 is not 1 byte or more"),
        ("[limits]\nrequest_body = -1", "limits.request_body: -1 is not 0 bytes or more"),
        ("[limits]\nfields = '100'", "limits.fields: expected a whole number without quotes, got '100'"),
        ("[limits]\nconnections = 0", "limits.connections: 0 is not 1 or more"),
        ("[pools.web]\nqueue = -1", "pools.web.queue: -1 is not 0 or more"),
        (
            "[pools.web]\npolicy = 'round_robbin'",
            "there is no policy 'round_robbin', did you mean `round_robin`?",
        ),
        ("[pools.'a b']", 'pools."a b": a pool\'s name may hold'),
        ("[[pools.web.backends]]\nid = 'a'", "pools.web.backends[0].url: is missing"),
        ("[[pools.web.backends]]\nurl = 'ftp://a'", "pools.web.backends[0].url: 'ftp://a': expected http://"),
        (
            "[[routes]]\npool = 'wbe'\n[pools.web]",
            "routes[0].pool: there is no pool 'wbe', did you mean `web`?",
        ),
        ("[[routes]]\npath = '/x'", "routes[0].pool: is missing"),
        ("[[routes]]\npath = 'x'\npool = 'default'", "routes[0].path: 'x' is not the start of a path"),
        ("[[routes]]\npath = '/x/*'\npool = 'default'", "routes[0].path: '/x/*' ends in a * as if"),
        ("[[routes]]\nhost = 'a:80'\npool = 'default'", "routes[0].host: 'a:80' is not a host"),
    ],
)
def test_a_mistake_names_its_key(text: str, mistake: str) -> None:
    [message] = mistakes_of(text)
    assert mistake in message


def test_a_mistake_in_a_list_does_not_shift_the_other_items() -> None:
    text = """
    [[pools.web.backends]]
    url = "http://a"
    [[pools.web.backends]]
    url = 3
    [[pools.web.backends]]
    url = "http://b"
    weight = "5"
    """
    assert mistakes_of(text) == [
        "pools.web.backends[1].url: expected text in quotes, got 3",
        "pools.web.backends[2].weight: expected a whole number without quotes, got '5'",
    ]


def test_every_mistake_is_listed_at_once() -> None:
    text = """
    acess_log = "off"
    [timeouts]
    send = "soon"
    [pools.a]
    backends = [{url = "http://h:1", weight = -1}, {url = "http://h:2"}]
    [pools.b]
    backends = [{url = "http://h:2"}, 3]
    [[routes]]
    pool = "c"
    """
    with pytest.raises(ConfigError) as caught:
        parse(text, "lb.toml")
    first, *mistakes = str(caught.value).splitlines()
    assert first == "lb.toml: 6 mistakes"
    assert [mistake.strip() for mistake in mistakes] == [
        "line 2: acess_log: unknown key, did you mean `access_log`?",
        'line 4: timeouts.send: expected a duration such as "500ms", "30s" or seconds, got \'soon\'',
        "line 6: the first of pools.a.backends: weight: -1 is not between 0 and 1000000",
        "line 8: the second of pools.b.backends: expected a table, got 3",
        "line 10: the first of routes: pool: there is no pool 'c'; there are: a, b",
        "line 8: the first of pools.b.backends: url: the second of pools.a.backends has it too; "
        "give one of them an `id`, or leave it out",
    ]


def test_an_id_belongs_to_one_backend_in_all_pools() -> None:
    text = """
    [pools.a]
    backends = [{url = "http://h:1"}]
    [pools.b]
    backends = [{id = "h-1", url = "http://h:2"}]
    """
    assert mistakes_of(text) == [
        "pools.b.backends[0].id: 'h-1' is the id of the first of pools.a.backends too"
    ]


@pytest.mark.parametrize(
    ("text", "pools"),
    [
        ("[pools.web]", ["web", "default"]),
        ("[pools.web]\n[[routes]]\npool = 'web'", ["web"]),
        ("[pools.web]\n[[routes]]\npool = 'web'\npath = '/x'", ["web", "default"]),
        ("[pools.web]\n[[routes]]\npool = 'web'\nhost = 'x'", ["web", "default"]),
        ("[pools.web]\n[[routes]]\npool = 'default'\npath = '/x'", ["web", "default"]),
        ("[[routes]]\npool = 'default'", ["default"]),
        ("demo = true\n[pools.web]\n[[routes]]\npool = 'web'", ["web", "default"]),
    ],
)
def test_every_request_has_a_pool(text: str, pools: list[str]) -> None:
    assert list(parse(text).pools) == pools


def test_a_route_cannot_name_a_default_that_nothing_can_reach() -> None:
    text = "[pools.web]\n[[routes]]\npool = 'default'\npath = '/x'\n[[routes]]\npool = 'web'"
    assert mistakes_of(text) == ["routes[0].pool: there is no pool 'default'; there are: web"]


def test_the_demo_brings_its_backends() -> None:
    config = parse("demo = true\n[pools.default]\npolicy = 'least_requests'")
    assert config.pools["default"] == PoolConfig(policy="least_requests", backends=demo_backends())
    assert [(spec.id, spec.url) for spec in demo_backends()] == [
        ("server1", "http://127.0.0.1:8081"),
        ("server2", "http://127.0.0.1:8082"),
        ("server3", "http://127.0.0.1:8083"),
    ]


def test_the_demo_refuses_other_backends_in_its_pool() -> None:
    [message] = mistakes_of("demo = true\n[pools.default]\nbackends = [{url = 'http://a'}]")
    assert message.startswith("demo: the demo brings its own backends")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb = [1,\n   = 2]", "line 3, column 4: Invalid value"),
        (b"a = [1", "line 1, column 5: the [ that begins here has no ]"),
        (b"a = 1\na = 2", "line 2: a stands on line 1 already"),
        (b"a = 1\nb = '\xff'", "line 2: not UTF-8, as TOML must be"),
        (b"a = " + b"1" * 5000, "Exceeds the limit"),
    ],
)
def test_a_syntax_error_has_its_line_and_column(tmp_path: "Path", data: bytes, message: str) -> None:
    path = tmp_path / "lb.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^/nowhere/lb\.toml: cannot be read: No such file or directory$"):
        load("/nowhere/lb.toml")


def test_a_file_is_loaded(tmp_path: "Path") -> None:
    (tmp_path / "lb.toml").write_text(WHOLE_FILE)
    assert load(tmp_path / "lb.toml") == parse(WHOLE_FILE)


def test_the_upper_table_wins_and_tables_are_merged() -> None:
    below = {"listen": [":1", ":2"], "timeouts": {"send": 1, "queue": 2}, "admin": 3}
    above = {"listen": [":3"], "timeouts": {"send": 4}, "admin": {"listen": ":5"}}
    merged = {"listen": [":3"], "timeouts": {"send": 4, "queue": 2}, "admin": {"listen": ":5"}}
    assert overlay(below, above) == merged
    assert below["timeouts"] == {"send": 1, "queue": 2}


def test_the_source_is_put_before_the_message() -> None:
    with pytest.raises(ConfigError, match=r"^flags: demo: expected true or false, got 1$"):
        build({"demo": 1}, "flags")


@pytest.mark.parametrize("path", ["/a;b", "/a\\b"])
def test_a_route_on_which_servers_differ_is_compared_exactly(path: str) -> None:
    tables = {"routes": [{"path": path, "pool": "default"}]}
    with pytest.raises(ConfigError, match=r"the first of routes: path: .*path_policy"):
        build(tables)
    assert build({**tables, "path_policy": "exact"}).routes[0].path == path


def test_names_that_contradict_each_other_are_looked_for_a_hundred_times() -> None:
    with pytest.raises(ConfigError) as caught:
        build({"routes": [{"pool": f"p{number}"} for number in range(MOST_CONTRADICTIONS + 1)]})
    assert len(caught.value.mistakes) == MOST_CONTRADICTIONS


def test_a_listener_with_tls_needs_no_file_where_certificates_are_ordered() -> None:
    text = "listen = [':80', 'https://:443']\n[tls.acme]\nnames = ['www.a.test']\nstorage = 'a'"
    acme = parse(f"{text}\nterms_agreed = true").tls.acme
    assert acme is not None
    assert acme.names == ("www.a.test",)
