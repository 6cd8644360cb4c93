"""`lb status --ended`."""

import json

import pytest

from tests.remote.kit import Terminal

ENDED = {
    **{"kind": "down", "pool": "default", "backend": "web2", "seconds": 720.0, "times": 1},
    "sentence": "web2 was down for 12 min: \x1b[31mrefused",
    **{"began": "2026-11-22T03:10:00.250Z", "ended": "2026-11-22T03:22:00.250Z"},
}
PAST = {"summary": "1 trouble ended", "items": [ENDED], "current": 0}
PAST |= {"remembered_since": "2026-11-21T22:00:00.000Z"}


def test_status_says_what_was_wrong(lb: Terminal) -> None:
    lb.balancer.says(PAST)
    assert lb("status", "--ended").splitlines() == [
        "http://127.0.0.1:9000  1 trouble ended",
        "",
        "- web2 was down for 12 min: \\x1b[31mrefused",
        "    2026-11-22T03:10:00Z to 2026-11-22T03:22:00Z",
        "",
        "remembered since 2026-11-21T22:00:00Z; older ones are forgotten",
    ]
    assert lb.balancer.asked == ["GET /trouble/ended"]


@pytest.mark.parametrize("flags", [["--since", "12h"], ["--ended", "--since", "12h"]])
def test_status_says_what_was_wrong_since_then(lb: Terminal, flags: list[str]) -> None:
    lb.balancer.says(PAST)
    assert json.loads(lb("status", "--json", *flags)) == PAST
    assert lb.balancer.asked == ["GET /trouble/ended?since=12h"]


def test_status_says_that_nothing_has_ended_and_that_something_goes_on(lb: Terminal) -> None:
    lb.balancer.says(
        {**PAST, "summary": "no trouble ended since 22:00:00Z; 1 goes on", "items": [], "current": 1}
    )
    assert lb("status", "--ended").splitlines() == [
        "http://127.0.0.1:9000  no trouble ended since 22:00:00Z; 1 goes on, see `lb status`",
        "",
        "remembered since 2026-11-21T22:00:00Z; older ones are forgotten",
    ]


def test_what_was_wrong_is_folded_on_a_terminal(lb: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    lb.balancer.says({**PAST, "items": [{**ENDED, "sentence": "word " * 20}]})
    assert max(map(len, lb("status", "--ended").splitlines())) <= 48  # a time is one word


def test_a_time_that_is_none_is_refused_by_the_balancer(lb: Terminal) -> None:
    lb.balancer.refuses(422, errors=[{"pointer": "since", "detail": "expected a duration such as 1h"}])
    lb("status", "--since", "soon", code=5)
    assert "expected a duration such as 1h" in lb.err
