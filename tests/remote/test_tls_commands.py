"""`lb certificates` and `lb why --tls`."""

import re
from typing import Any

import pytest

from tests.remote.kit import Terminal

WWW = {
    **{"id": "www.test", "stage": "valid", "days_left": 60.04, "lifetime_left": 0.667, "key_type": "EC"},
    **{"key_bits": 256, "issuer": "CN=R3", "routes_count": 2, "warnings": []},
    "renewal": None,
}
LIST = {
    **{"items": [WWW], "total": 1, "listeners": ["127.0.0.1:443"], "uncovered": [], "uncovered_count": 0},
    "ordered": [],
    "error": None,
}
ORDER = {
    **{"name": "a.test", "directory": "https://ca.test", "next_attempt": "2026-12-01T10:00:00.000Z"},
    **{"failures_in_a_row": 0, "error": None, "is_running": False},
}
REFUSED = {
    **{"at": "2026-11-27T10:00:00.000Z", "peer": "192.0.2.1:5", "listener": ":443", "server_name": "a.test"},
    **{"versions": ["TLS 1.3", "TLS 1.2"], "protocols": ["h2"], "ciphers": ["A", "B", "C", "D"]},
    **{"reason": "unknown_name", "sentence": "There is no certificate for a.test.", "help": "Add one."},
}
HANDSHAKES = {
    "items": [REFUSED],
    "refused": [{"listener": ":443", "reason": "unknown_name", "count": 1200}],
    "done": [
        {"listener": ":443", "version": "TLSv1.3", "resumed": is_resumed, "count": 5}
        for is_resumed in (True, False)
    ],
}


def change(before: float | None, after: float | None) -> dict[str, Any]:
    ends = ({"days_left": days} if days is not None else None for days in (before, after))
    return {
        "chain_file": "/etc/www.pem",
        **dict(zip(("before", "after"), ends, strict=True)),
        "routes_count": 2,
    }


def test_certificates_is_a_table(lb: Terminal) -> None:
    lb.balancer.says(LIST)
    assert lb("certificates").splitlines() == [
        "NAME      STAGE  LEFT       OF ITS LIFE  NEXT RENEWAL  KEY     ISSUER  ROUTES",
        "www.test  valid  60.0 days  67%          by others     EC 256  CN=R3   2",
    ]
    assert lb.balancer.asked == ["GET /certificates"]


@pytest.mark.parametrize(
    ("order", "shown"),
    [
        ({}, ["2026-12-01 10:00", "CN=R3, by ca.test"]),
        ({"is_running": True}, ["now", "CN=R3, by ca.test"]),
        ({"next_attempt": None, "directory": ""}, ["never", "CN=R3"]),
    ],
)
def test_of_one_that_is_ordered_it_says_when_it_is_renewed_and_by_whom(
    order: dict[str, Any], shown: list[str], lb: Terminal
) -> None:
    lb.balancer.says({**LIST, "items": [{**WWW, "renewal": {**ORDER, **order}}]})
    [_, row] = lb("certificates").splitlines()
    assert [re.split("  +", row)[column] for column in (4, 6)] == shown


def test_orders_that_fail_or_wait_stand_below(lb: Terminal) -> None:
    failed = {**ORDER, "name": "b.test", "error": "it does not lead here", "next_attempt": None}
    lb.balancer.says({**LIST, "items": [{**WWW, "renewal": failed}], "ordered": [ORDER]})
    assert lb("certificates").splitlines()[2:] == [
        "warning  b.test: it does not lead here; no further attempt",
        "ordered  a.test: next attempt 2026-12-01T10:00:00.000Z",
    ]


def test_one_is_renewed_by_its_name(lb: Terminal) -> None:
    lb.balancer.says(ORDER, 202)
    assert lb("certificates", "renew", "a.test") == "a.test: next attempt 2026-12-01T10:00:00.000Z\n"
    lb.balancer.says({**ORDER, "is_running": True}, 202)
    assert lb("certificates", "renew", "*.b.test") == "a.test: it is being ordered now\n"
    assert lb.balancer.asked == [
        "POST /certificates/a.test/renew",
        "POST /certificates/%2A.b.test/renew",
    ]
    lb.balancer.refuses(409, "/etc/a.pem is renewed by who writes it")
    lb("certificates", "renew", "c.test", code=5)
    assert lb.err == "lb: /etc/a.pem is renewed by who writes it\n"


def test_what_is_not_as_it_should_be_stands_below(lb: Terminal) -> None:
    hostile = {**WWW, "id": "\x1b[31m", "warnings": ["/etc/www.pem: it ended"]}
    told = {"items": [hostile], "error": "tls: a\n  tls: b", "uncovered": ["x.test"], "uncovered_count": 3}
    lb.balancer.says({**LIST, **told})
    assert lb("certificates").splitlines()[2:] == [
        "warning  \\x1b[31m: /etc/www.pem: it ended",
        "error    tls: a",
        "error    tls: b",
        "warning  x.test has a route and no certificate",
        "warning  2 more hosts with a route and no certificate",
    ]


def test_without_tls_there_is_none(lb: Terminal) -> None:
    lb.balancer.says({**LIST, "items": [], "listeners": []})
    lb("certificates", code=3)
    assert lb.err == "lb: no listener of this balancer speaks TLS\n"
    lb.balancer.says(LIST)
    assert '"listeners"' in lb("certificates", "--json")


def test_a_reload_says_what_has_changed(lb: Terminal) -> None:
    found = {"applied": True, "summary": "1 changed; gains b.test", "warnings": [], "uncovered": []}
    lb.balancer.says({**found, "changes": [change(3.0, 90.0), change(None, 9.0), change(3.0, None)]})
    assert lb("certificates", "--reload").splitlines() == [
        "1 changed; gains b.test",
        "  /etc/www.pem: 3.0 days left -> 90.0 days left, for 2 routes",
        "  /etc/www.pem: nothing -> 9.0 days left, for 2 routes",
        "  /etc/www.pem: 3.0 days left -> nothing",
    ]
    told = {"applied": False, "changes": [], "warnings": ["a: b"], "uncovered": ["x.test"]}
    lb.balancer.says({**found, **told})
    assert lb("certificates", "--reload", "--dry-run").splitlines() == [
        "not applied: 1 changed; gains b.test",
        "warning  a: b",
        "warning  x.test has a route and no certificate",
    ]
    assert lb.balancer.asked == [
        "POST /certificates/reload",
        "POST /certificates/reload?dry_run=true",
    ]


def test_a_dry_run_of_nothing_is_a_misuse(lb: Terminal) -> None:
    lb("certificates", "--dry-run", code=2)
    assert lb.err == "lb: --dry-run goes with --reload\n"


def test_bad_files_are_refused_with_each_mistake(lb: Terminal) -> None:
    errors = [
        {"pointer": "#/tls/certificates/0/key", "detail": "/k: no key"},
        {"pointer": "#", "detail": "x"},
    ]
    lb.balancer.refuses(422, "tls.certificates[0].key: /k: no key", errors)
    lb("certificates", "--reload", code=5)
    assert "tls/certificates/0/key: /k: no key" in lb.err


def test_why_tls_explains_the_last_refused_handshakes(lb: Terminal) -> None:
    lb.balancer.says(HANDSHAKES)
    assert lb("why", "--tls").splitlines() == [
        "2026-11-27T10:00:00.000Z  unknown_name  from 192.0.2.1:5 at :443",
        "  There is no certificate for a.test. Add one.",
        "  It asked for a.test, and offered TLS 1.3, TLS 1.2; h2; A, B, C.",
        "",
        "   1200  unknown_name  at :443",
        "     10  succeeded",
    ]
    assert lb.balancer.asked == ["GET /handshakes?refused=true&limit=10"]


def test_why_tls_of_one_that_offered_nothing(lb: Terminal) -> None:
    silent = {**REFUSED, "versions": [], "protocols": [], "ciphers": [], "server_name": ""}
    lb.balancer.says({**HANDSHAKES, "items": [silent]})
    assert "offered" not in lb("why", "--tls")
    lb.balancer.says({"items": [], "refused": [], "done": []})
    lb("why", "--tls", code=3)
    assert lb.err == "lb: no handshake was refused\n"
    lb.balancer.says(HANDSHAKES)
    assert '"unknown_name"' in lb("why", "--tls", "--json")


def test_why_takes_one_question_at_a_time(lb: Terminal) -> None:
    for arguments in (("r1", "--tls"), ("--running", "--tls")):
        lb("why", *arguments, code=2)
        assert lb.err == "lb: an ID, --running, --tls and flags that choose a request exclude each other\n"
