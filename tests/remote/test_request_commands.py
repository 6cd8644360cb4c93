"""`lb requests`: what runs, and the end of one request in a sentence."""

import json

import pytest

from tests.remote.kit import Terminal, request
from tests.remote.test_watching import RUNNING

UNKNOWN = "no request 'r1' is remembered"


def test_those_that_run_are_listed_by_default(lb: Terminal) -> None:
    for command in (["requests"], ["requests", "ls"]):
        lb.balancer.says({"items": [RUNNING], "total": 1})
        assert lb(*command, "--backend", "web1", "--pool", "api").splitlines() == [
            "1 request running",
            "  GET /slow  waiting for response on web1  12.0 s  from 127.0.0.1:5  id r1",
        ]
    asked = "GET /requests?running=true&limit=1000&backend=web1&pool=api"
    assert lb.balancer.asked == [asked, asked]


def test_one_that_runs_is_ended(lb: Terminal) -> None:
    lb.balancer.says(RUNNING, 202)
    assert lb("requests", "end", "r1") == (
        "r1 is ended, after 12.0 s in all: GET /slow of 127.0.0.1:5, waiting for response on web1\n"
    )
    assert lb.balancer.asked == ["DELETE /requests/r1"]
    lb.balancer.says({**RUNNING, "backend": None, "phase": "queued", "target": "/\x1b"}, 202)
    assert lb("requests", "end", "a/b").endswith("GET /\\x1b of 127.0.0.1:5, queued\n")
    assert lb.balancer.asked[1:] == ["DELETE /requests/a%2Fb"]


def test_one_that_is_over_already_is_no_mistake(lb: Terminal) -> None:
    lb.balancer.refuses(404, "no request 'r1' runs now").says(request())
    assert lb("requests", "end", "r1") == (
        "r1 was over already: GET /cart ended at 2026-11-22T10:00:00.040Z with 502 connection_refused\n"
    )
    assert lb.balancer.asked == ["DELETE /requests/r1", "GET /requests/r1"]


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_an_id_that_nobody_knows_is_said(lb: Terminal, flags: list[str]) -> None:
    if not flags:
        lb.balancer.refuses(404, "no request 'r1' runs now")
    lb.balancer.refuses(404, UNKNOWN)
    assert lb("requests", "end", "r1", *flags, code=3) == ""
    assert lb.err == f"lb: {UNKNOWN}\nnothing was ended; lb requests lists those that run\n"


def test_one_that_begins_between_the_two_calls_is_not_said_to_be_over(lb: Terminal) -> None:
    lb.balancer.refuses(404, "no request 'r1' runs now").says(RUNNING)
    assert lb("requests", "end", "r1", code=1) == ""
    assert "was not ended: try again" in lb.err


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_other_refusals_are_passed_on(lb: Terminal, flags: list[str]) -> None:
    lb.balancer.refuses(403, "the token may only read")
    lb("requests", "end", "r1", *flags, code=5)
    assert lb.err == "lb: the token may only read\n"


def test_a_dry_run_says_what_would_be_ended_and_ends_nothing(lb: Terminal) -> None:
    lb.balancer.says(RUNNING)
    assert lb("requests", "end", "r1", "--dry-run").startswith("r1 would be ended, after 12.0 s in all: GET")
    lb.balancer.says(request())
    assert lb("requests", "end", "r1", "--dry-run").startswith("r1 was over already: GET /cart ended at")
    assert lb.balancer.asked == ["GET /requests/r1"] * 2


def test_the_json_is_what_the_api_answers(lb: Terminal) -> None:
    lb.balancer.says(RUNNING, 202)
    assert json.loads(lb("requests", "end", "r1", "--json")) == RUNNING
