"""`lb top`, `lb tap`, `lb why` and `lb drain`."""

import json
from typing import Any

import pytest

from lb.remote.terminal_text import seconds
from tests.remote.kit import Terminal, request

RATES = {"requests_per_second": 12.5, "share_5xx": 0.02, "p50_seconds": 0.012, "p99_seconds": None}
TRAFFIC = {"rates": RATES, "in_flight": 3, "cap": None, "queued": 1, "available": 1, "backends": 2}
BACKEND = {
    **TRAFFIC,
    **{
        "id": "web1",
        "pool": "default",
        "state": "ejected",
        "weight": 1,
        "share": 0.5,
        "why": "\x1b[31m[red]",
    },
}
STATS = {
    **{"uptime_seconds": 3.0, "draining": False, "stopping": False},
    "totals": {**TRAFFIC, "connections": 4},
    "pools": [{**TRAFFIC, "name": "default", "panicking": True}],
    "backends": [BACKEND],
}
FAILED = {
    **{"id": "r1", "at": "10:00", "method": "GET", "target": "/cart", "status": 502, "seconds": 0.0011},
    **{"error": "connection_refused", "backend": None, "untold": 0},
}
ENDING = ("ending", {"why": "stopping"})
BALANCER = {"state": "draining", "remaining": 2, "duration_seconds": 1.5, "stopping": False}


def test_one_frame(lb: Terminal) -> None:
    lb.balancer.says(STATS)
    lines = lb("top", "--once").splitlines()
    assert lines[0] == "http://127.0.0.1:9000  up for 3.0 s"
    assert lines[1].startswith("12.5 req/s  5xx 2%  p50 12 ms  p99 -  3 in flight  1 queued  4 clients")
    assert lines[2] == "pool default  1 queued, panicking: too few are fit"
    assert lines[5].split() == [
        *("web1", "default", "ejected", "1", "3", "12.5", "50%", "2%", "12", "ms", "-", "\\x1b[31m[red]")
    ]
    assert lb.balancer.asked == ["GET /stats"]


@pytest.mark.parametrize("state", ["draining", "stopping"])
def test_how_long_it_drains_is_not_how_long_it_is_up(lb: Terminal, state: str) -> None:
    lb.balancer.says({**STATS, state: True})
    assert lb("top", "--once").splitlines()[0] == f"http://127.0.0.1:9000  {state}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0 ms"),
        (0.0005, "0.5 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.5, "59.5 s"),
    ],
)
def test_a_duration_has_few_digits(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_one_frame_as_json(lb: Terminal) -> None:
    lb.balancer.says(STATS)
    assert json.loads(lb("top", "--once", "--json")) == STATS


def test_a_frame_for_each_event_until_the_balancer_stops(lb: Terminal) -> None:
    lb.balancer.streams(("stats", STATS), ("stats", STATS), ENDING)
    assert lb("top", code=1).count("up for 3.0 s") == 2
    assert lb.err == "lb: the balancer has ended the stream: stopping\n"
    assert lb.balancer.asked == ["GET /events?types=stats"]


def test_a_terminal_gets_a_screen(lb: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lb.balancer.streams(("stats", STATS), ENDING)
    out = lb("top", code=1)
    assert "\x1b[?1049h" in out
    assert "\\x1b[31m[red]" in out
    assert "\x1b[31m" not in out


def test_why_explains_and_draws_the_waterfall(lb: Terminal) -> None:
    lb.balancer.says(request())
    assert lb("why", "r1").splitlines() == [
        "GET /cart: 502 connection_refused in 40.0 ms",
        "2026-11-22T10:00:00.000Z  from 127.0.0.1:5  pool default (round_robin)  id r1",
        "",
        "It was refused.",
        "",
        "  web2  |cccccccccc                              |  10.0 ms  connection_refused",
        "  web3  |          wwwwwwwwww====================|  30.0 ms"
        "  http_response_incomplete, reused connection",
        "  q in the queue   c connecting   w waiting for the answer   = answer",
        "  web2 was chosen without web1 (draining)",
    ]
    assert lb.balancer.asked == ["GET /requests/r1"]


def test_why_of_a_request_without_an_attempt(lb: Terminal) -> None:
    timings = {"queue": 0.0, "connect": None, "first_byte": None, "total": 0.0}
    lb.balancer.says(request(attempts=[], pool=None, method="", target="", timings_ms=timings))
    assert lb("why", "r1").startswith("- -: 502 connection_refused in 0.0 ms\n")


def test_why_shows_the_queue_and_the_slower_attempt(lb: Terminal) -> None:
    slow: dict[str, Any] = {**request()["attempts"][0], "error": None, "is_beaten": True, "ended_ms": None}
    timings = {"queue": 20.0, "connect": None, "first_byte": None, "total": 40.0}
    lb.balancer.says(request(attempts=[slow], timings_ms=timings))
    lines = lb("why", "r1").splitlines()
    assert lines[5] == f"  queue  |{'q' * 20}{' ' * 20}|  20.0 ms"
    assert lines[6].endswith("40.0 ms  another was quicker")


def test_why_without_an_id_is_the_last_that_failed(lb: Terminal) -> None:
    lb.balancer.says({"items": [request()]}).says(request())
    lb("why", "--json")
    assert lb.balancer.asked == ["GET /requests?failed=true&limit=1", "GET /requests/r1"]
    lb.balancer.says({"items": []})
    lb("why", code=3)


RUNNING = {
    **{"id": "r1", "client": "127.0.0.1:5", "method": "GET", "target": "/slow", "pool": "default"},
    **{"backend": "web1", "phase": "waiting for response", "waits_for": "web1 to begin its answer"},
    **{"seconds": 12.0, "phase_seconds": 11.5, "started": "2026-11-22T10:00:00.000Z", "attempts": 1},
    **{"request_bytes": 5, "response_bytes": 0},
}


def test_why_of_a_request_that_runs_says_what_it_waits_for(lb: Terminal) -> None:
    lb.balancer.says(RUNNING)
    assert lb("why", "r1").splitlines() == [
        "GET /slow: running for 12.0 s",
        "2026-11-22T10:00:00.000Z  from 127.0.0.1:5  pool default  id r1",
        "",
        "Waiting for response for 11.5 s: it waits for web1 to begin its answer.",
        "1 attempt so far; 5 bytes of its body have come, 0 of its answer.",
    ]
    lb.balancer.says({**RUNNING, "phase": "pausing", "waits_for": "", "pool": None})
    assert "Pausing for 11.5 s.\n" in lb("why", "r1")


def test_why_running_lists_what_runs(lb: Terminal) -> None:
    waiting = {**RUNNING, "backend": None, "phase": "queued", "target": "/\x1b[31m"}
    lb.balancer.says({"items": [RUNNING, waiting], "total": 2})
    assert lb("why", "--running").splitlines() == [
        "2 requests running",
        "  GET /slow  waiting for response on web1  12.0 s  from 127.0.0.1:5  id r1",
        "  GET /\\x1b[31m  queued  12.0 s  from 127.0.0.1:5  id r1",
    ]
    assert lb.balancer.asked == ["GET /requests?running=true&limit=1000"]
    lb.balancer.says({"items": [], "total": 0})
    assert lb("why", "--running", "--json") == '{"items": [], "total": 0}\n'


def test_tap_tells_what_failed(lb: Terminal) -> None:
    hostile = {**FAILED, "target": "/\x1b]0;x\x07\u202e", "untold": 7}
    lb.balancer.streams(("request_failed", FAILED), ("request_failed", hostile), ENDING)
    assert lb("tap", "--failed", code=1).splitlines() == [
        "10:00  502 connection_refused  GET /cart  -  1.1 ms  r1",
        "10:00  502 connection_refused  GET /\\x1b]0;x\\x07\\u202e  -  1.1 ms  r1",
    ]
    assert lb.err.startswith("lb: 7 more requests failed before the next one\n")


def test_tap_polls_for_all_and_shows_each_once(lb: Terminal) -> None:
    old, one, two = request(id="r0"), request(id="r1"), request(id="r2", attempts=[], error=None)
    lb.balancer.says({"items": [old]}).says({"items": [two, one, old]}).says({"items": [two, one, old]})
    lb.balancer.fails(KeyboardInterrupt)
    assert lb("tap").splitlines() == [
        "2026-11-22T10:00:00.040Z  502 connection_refused  GET /cart  web3  40.0 ms  r1",
        "2026-11-22T10:00:00.040Z  502  GET /cart  -  40.0 ms  r2",
    ]


def test_tap_says_when_it_cannot_keep_up(lb: Terminal) -> None:
    page = [request(id=f"r{number}") for number in range(200)]
    lb.balancer.says({"items": []}).says({"items": page}).fails(KeyboardInterrupt)
    assert len(lb("tap", "--json").splitlines()) == 200
    assert "some are left out" in lb.err


def test_the_balancer_itself_drains_and_comes_back(lb: Terminal) -> None:
    lb.balancer.says(BALANCER, 202)
    assert lb("drain").startswith("http://127.0.0.1:9000 is draining: 2 requests in flight after 1.5 s; lb")
    lb.balancer.says({**BALANCER, "state": "ready"})
    assert lb("drain", "--undo") == "http://127.0.0.1:9000 is ready\n"
    assert lb.balancer.asked == ["POST /drain", "DELETE /drain"]


def test_the_balancer_can_be_waited_for_and_stopped(lb: Terminal) -> None:
    done = {"state": "drained", "remaining": 0, "duration_seconds": 1.5, "stopping": True}
    lb.balancer.says(done, 202)
    assert lb("drain", "--wait", "1m", "--exit").endswith("0 requests in flight after 1.5 s; it stops\n")
    assert lb.balancer.asked == ["POST /drain?wait=60&exit=true"]


def test_the_balancer_is_still_busy(lb: Terminal) -> None:
    lb.balancer.says(BALANCER, 202)
    lb("drain", "--wait", "1s", code=4)
    assert "2 requests in flight" in lb.err


def test_the_balancer_goes_on_draining_after_ctrl_c(lb: Terminal) -> None:
    lb.balancer.fails(KeyboardInterrupt)
    lb("drain", "--wait", "1s", code=130)
    assert lb.err == "lb: the drain goes on; lb drain --undo takes it back\n"


def test_undo_waits_for_nothing(lb: Terminal) -> None:
    lb("drain", "--undo", "--exit", code=2)
