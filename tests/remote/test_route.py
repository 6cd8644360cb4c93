"""`lb route`."""

import json

from tests.remote.kit import Terminal

ANSWER = {
    "url": "http://a.test/\x1b",
    "method": "GET",
    "status": None,
    "explain": "Route 1 takes it.",
    "backends_total": 4,
    "backends": [
        {"id": "web1", "backup": False, "why_not": None},
        {"id": "web3", "backup": True, "why_not": None},
        {"id": "web2", "backup": False, "why_not": "draining"},
    ],
}


def test_route_says_where_a_url_goes(lb: Terminal) -> None:
    lb.balancer.says(ANSWER)
    assert lb("route", "http://a.test/?b").splitlines() == [
        "GET http://a.test/\\x1b",
        "",
        "Route 1 takes it.",
        "",
        "BACKEND  COULD TAKE IT  WHY NOT",
        "web1     yes",
        "web3     as a backup",
        "web2     no             draining",
        "and 1 more",
    ]
    assert lb.balancer.asked == ["GET /route?url=http%3A%2F%2Fa.test%2F%3Fb"]


def test_route_of_what_is_refused_has_no_table(lb: Terminal) -> None:
    lb.balancer.says({**ANSWER, "explain": "It is refused.", "backends": [], "backends_total": 0})
    assert lb("route", "/", "--method", "TRACE").splitlines()[-1] == "It is refused."
    assert lb.balancer.asked == ["GET /route?url=%2F&method=TRACE"]
    lb.balancer.says(ANSWER)
    assert json.loads(lb("route", "/", "--json")) == ANSWER
