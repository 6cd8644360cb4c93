"""`lb top`, `lb tap`, `lb why` and `lb drain`."""

import json
import re
from typing import Any

import pytest

from lb.core.measures.histogram import LONGEST_TOLD
from lb.remote import terminal_text, top
from lb.remote.address import Where
from lb.remote.api import Remote
from lb.remote.terminal_text import seconds
from lb.remote.top_view import View, table
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
    **{"uptime_seconds": 3.0, "draining": False, "stopping": False, "trouble": []},
    "totals": {**TRAFFIC, "connections": 4},
    "pools": [{**TRAFFIC, "name": "default", "panicking": True}],
    "backends": [BACKEND],
    "workers": [],
}
TROUBLE = {"sentence": "web2 is down for 46 s", "advice": "Look at it."}
WORKER = {
    **{"worker": 1, "pid": 4001, "state": "serving", "state_seconds": 9.0, "restarts": 0, "connections": 1},
    **{"requests_total": 5, "requests_per_second": 12.5, "loop_lag_p99_seconds": 0.004},
    "memory_bytes": 41_000_000,
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
    assert lines[0] == "http://127.0.0.1:9000  up for 3.0 s  1 of 2 backends available"
    assert lines[1].startswith("12.5 req/s  5xx 2%  p50 12 ms  p99 -  3 in flight  1 queued  4 clients")
    assert lines[2] == "pool default  1 queued, panicking: too few are fit"
    assert lines[3] == "rates and latencies are of ten seconds"
    assert lines[5].split() == [
        *("web1", "default", "ejected", "1", "3", "12.5", "50%", "2%", "12", "ms", "-", "\\x1b[31m[red]")
    ]
    assert lb.balancer.asked == ["GET /stats"]


def test_trouble_stands_above_the_table_and_the_rest_is_counted(lb: Terminal) -> None:
    lb.balancer.says(
        {**STATS, "trouble": [{**TROUBLE, "sentence": f"web{n} is \x1b[31m down"} for n in range(5)]}
    )
    lines = lb("top", "--once").splitlines()
    assert lines[2:6] == [*(f"! web{n} is \\x1b[31m down" for n in range(3)), "! 2 more: lb status"]


def test_status_says_what_is_wrong_and_what_to_do(lb: Terminal) -> None:
    lb.balancer.says({**STATS, "trouble": [TROUBLE]})
    assert lb("status").splitlines()[-3:] == ["", "! web2 is down for 46 s", "    Look at it."]
    assert lb.balancer.asked == ["GET /stats"]


def test_on_a_terminal_words_stay_whole(lb: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    lb.balancer.says({**STATS, "trouble": [{**TROUBLE, "advice": "word " * 20}]})
    lines = lb("status").splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[-3:] == [
        *["    word word word word word word word"] * 2,
        "    word word word word word word",
    ]


def test_status_says_that_nothing_is_wrong(lb: Terminal) -> None:
    lb.balancer.says(STATS)
    assert lb("status").splitlines()[-1] == "Nothing is wrong."
    lb.balancer.says({"summary": "nothing is wrong", "items": []})
    assert json.loads(lb("status", "--json"))["items"] == []


def out(backend: str, state: str, **facts: object) -> dict[str, object]:
    return {**BACKEND, "id": backend, "state": state, "available": False, **facts}


@pytest.mark.parametrize(
    ("backends", "said"),
    [
        ([], "available"),
        ([out("web2", "maintenance")], "available (web2 in maintenance)"),
        (
            [out("a", "draining"), out("b", "ready"), out("c", "ready", weight=0), out("d", "down")],
            "available (a draining, b full, c has weight 0, 1 more)",
        ),
    ],
    ids=["all", "one", "many"],
)
def test_who_is_out_is_named(lb: Terminal, backends: list[dict[str, object]], said: str) -> None:
    lb.balancer.says({**STATS, "backends": [BACKEND, *backends]})
    assert lb("status").splitlines()[0].endswith(said)
    lb.balancer.says({**STATS, "backends": [BACKEND, *backends], "trouble": [{**TROUBLE, "backend": "x"}]})
    assert lb("status").splitlines()[0].endswith(said)


def test_who_is_out_and_in_trouble_is_named_there(lb: Terminal) -> None:
    backends = [BACKEND, out("web2", "down"), out("web3", "drained")]
    lb.balancer.says({**STATS, "backends": backends, "trouble": [{**TROUBLE, "backend": "web2"}]})
    assert lb("status").splitlines()[0].endswith("available (web3 drained)")


def test_where_much_has_just_failed_nothing_is_wrong_now(lb: Terminal) -> None:
    lb.balancer.says(
        {**STATS, "totals": {**TRAFFIC, "connections": 4, "rates": {**RATES, "share_5xx": 0.76}}}
    )
    assert lb("status").splitlines()[-1].startswith("Nothing is wrong now, but 76% of the requests")


def test_a_line_for_each_worker(lb: Terminal) -> None:
    silent = {**WORKER, "worker": 2, "state": "silent", "restarts": 2, "connections": 3}
    lb.balancer.says({**STATS, "workers": [WORKER, {**silent, "memory_bytes": None}]})
    lines = lb("top", "--once").splitlines()
    cells = re.split(" {2,}", lines[2])
    assert cells == ["worker 1", "serving", "12.5 req/s", "1 client", "late p99 4.0 ms", "41 MB"]
    assert "silent for 9.0 s" in lines[3]
    assert lines[3].endswith("2 restarts")
    assert lines[4].startswith("pool default")


def test_of_an_older_balancer_there_are_no_workers(lb: Terminal) -> None:
    lb.balancer.says({name: value for name, value in STATS.items() if name != "workers"})
    assert lb("top", "--once").splitlines()[2].startswith("pool default")


@pytest.mark.parametrize("state", ["draining", "stopping"])
def test_how_long_it_drains_is_not_how_long_it_is_up(lb: Terminal, state: str) -> None:
    lb.balancer.says({**STATS, state: True})
    assert lb("top", "--once").splitlines()[0].startswith(f"http://127.0.0.1:9000  {state}  1 of")


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


def rows(*states: str, **more: Any) -> dict[str, Any]:
    """Numbers with a backend for each of these states, b0 and so on."""
    found = [{**BACKEND, "id": f"b{at}", "state": state, "why": ""} for at, state in enumerate(states)]
    return {**STATS, "pools": [], "backends": found, **more}


def shown(lb: Terminal, *flags: str) -> list[str]:
    """The ids of the table, from the top."""
    lines = lb("top", "--once", *flags).splitlines()
    return [line.split()[0] for line in lines[lines.index(next(x for x in lines if "BACKEND" in x)) + 1 :]]


def test_those_in_trouble_come_first(lb: Terminal) -> None:
    lb.balancer.says(rows("ready", "draining", "ready", "down", trouble=[{**TROUBLE, "backend": "b2"}]))
    assert shown(lb) == ["b2", "b3", "b1", "b0"]


def test_the_order_may_be_chosen(lb: Terminal) -> None:
    numbers = rows("ready", "ready", "down")
    for at, row in enumerate(numbers["backends"]):
        row["rates"] = {**RATES, "p99_seconds": (0.2, 0.9, None)[at]}
    lb.balancer.says(numbers)
    assert shown(lb, "--sort", "p99") == ["b1", "b0", "b2"]


def test_of_a_quantile_above_the_last_bucket_only_the_bound_is_told(lb: Terminal) -> None:
    slow = {**RATES, "p50_seconds": 29.94, "p99_seconds": LONGEST_TOLD}
    numbers = rows("ready", totals={**STATS["totals"], "rates": slow})  # type: ignore[dict-item]  # JSON
    numbers["backends"][0]["rates"] = slow
    lb.balancer.says(numbers)
    assert lb("top", "--once").count("29.9 s  >30 s") == 1
    assert "p50 29.9 s  p99 >30 s" in lb.out
    assert terminal_text.LONGEST_TOLD == LONGEST_TOLD


def test_a_pool_and_a_state_may_be_chosen(lb: Terminal) -> None:
    numbers = rows("ready", "down", "down")
    numbers["backends"][2]["pool"] = "api"
    lb.balancer.says(numbers)
    assert shown(lb, "--state", "down") == ["b1", "b2"]
    lb.balancer.says(numbers)
    assert shown(lb, "--state", "down", "--pool", "api") == ["b2"]


@pytest.mark.parametrize(
    ("states", "last"),
    [
        (["ready"] * 120, "... 113 more, all ready"),
        (["down"] * 9 + ["ready"] * 9, "... 11 more: 9 ready, 2 down"),
    ],
)
def test_what_does_not_fit_is_counted(states: list[str], last: str) -> None:
    lines = [line for line, _ in table(rows(*states), View(), 9)]
    assert (len(lines), lines[-1]) == (9, last)


def test_of_a_narrow_terminal_the_reason_is_kept() -> None:
    numbers = rows("down")
    numbers["backends"][0] |= {"id": "a-very-long-backend-name-of-web-1", "why": "connection refused " * 9}
    head, row = (line for line, _ in table(numbers, View(width=80)))
    assert "WEIGHT" not in head
    assert "WHY" in head
    assert len(row) == 80
    assert row.startswith("a-very-long...e-of-web-1  ")


def test_keys_sort_filter_and_quit(monkeypatch: pytest.MonkeyPatch) -> None:
    view, quits = View(), list[bool]()
    monkeypatch.setattr(top, "interrupt_main", lambda: quits.append(True))
    screen = top.Screen(Remote(Where("http://127.0.0.1:9000")), view)
    for key in "sq/b1\x7f2\n":
        screen.pressed(key)
    assert (view.sort, quits, view.find) == ("p99", [True], "b2")
    lines = screen.lines(rows("ready", "ready", "down"), 80, 24)
    assert any(line.startswith("\x1b[31mb2") for line in lines)
    assert lines[-1] == "q quit  s sort (p99)  / filter  only 'b2'"
    for key in "/x\x1b":
        screen.pressed(key)
    assert view.find == ""


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
    assert "\x1b[31m[red]" not in out


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
    assert lb.balancer.asked == ["GET /requests?kinds=true&limit=50", "GET /requests/r1"]
    lb.balancer.says({"items": []}).says({"items": []})
    lb("why", code=3)


SCANNED = request(id="r9", status=400, error="http_request_error", method="", target="/.env", attempts=[])


def test_why_a_scanner_hides_no_failure(lb: Terminal) -> None:
    lb.balancer.says({"items": [SCANNED, request(), request(id="r0")]}).says(request())
    assert lb("why").splitlines()[-3:] == [
        "",
        "newer, at its client's fault:",
        "  2026-11-22T10:00:00.040Z  400 http_request_error  - /.env  -  40.0 ms  id r9",
    ]
    assert lb.balancer.asked[1] == "GET /requests/r1"


def test_why_explains_a_mistake_of_a_client_where_nothing_else_failed(lb: Terminal) -> None:
    lb.balancer.says({"items": [SCANNED]}).says(SCANNED)
    assert "newer" not in lb("why")
    assert lb.balancer.asked[1] == "GET /requests/r9"


def test_why_slow_is_the_slowest_of_the_last_hour(lb: Terminal) -> None:
    lb.balancer.says({"items": [request(), request(id="\x1b")]}).says(request())
    lines = lb("why", "--slow").splitlines()
    assert lines[-2:] == [
        "slow too:",
        "  2026-11-22T10:00:00.040Z  502 connection_refused  GET /cart  web3  40.0 ms  id \\x1b",
    ]
    assert lb.balancer.asked == ["GET /requests?slow=true&limit=6&since=1h", "GET /requests/r1"]


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        (("--slow", "--since", "24h", "--pool", "api"), "slow=true&limit=6&pool=api&since=24h"),
        (("--slow", "--until", "2026-01-31T03:00"), "slow=true&limit=6&until=2026-01-31T03%3A00"),
        (("--status", "5xx"), "limit=1&status=5xx"),
        (("--status", "503", "--backend", "web1"), "limit=1&status=503&backend=web1"),
        (("--since", "5m"), "kinds=true&limit=50&since=5m"),
    ],
)
def test_why_asks_for_what_its_flags_choose(lb: Terminal, flags: tuple[str, ...], asked: str) -> None:
    lb.balancer.says({"items": [request()]}).says(request())
    lb("why", *flags)
    assert lb.balancer.asked == [f"GET /requests?{asked}", "GET /requests/r1"]


def test_why_of_a_backend_that_has_not_failed_is_its_last_request(lb: Terminal) -> None:
    for _ in range(3):
        lb.balancer.says({"items": []})
    lb.balancer.says({"items": [request()]}).says(request())
    lb("why", "--backend", "web1")
    assert lb.balancer.asked == [
        "GET /requests?kinds=true&limit=50&backend=web1",
        "GET /requests?failed=true&limit=1&backend=web1",
        "GET /requests?attempt_failed=true&limit=6&backend=web1",
        "GET /requests?limit=1&backend=web1",
        "GET /requests/r1",
    ]


def test_why_finds_nothing_slow(lb: Terminal) -> None:
    lb.balancer.says({"items": []})
    lb("why", "--slow", code=3)
    assert "--since 24h" in lb.err


@pytest.mark.parametrize(
    "flags", [("r1", "--slow"), ("--running", "--status", "502"), ("--tls", "--pool", "a")]
)
def test_why_is_asked_for_one_thing(lb: Terminal, flags: tuple[str, ...]) -> None:
    lb("why", *flags, code=2)


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


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--backend", "web3"], ["r1", "r2"]),
        (["--backend", "web1"], []),
        (["--status", "5xx"], ["r1"]),
        (["--status", "200"], ["r2"]),
        (["--slower", "50ms"], ["r2"]),
        (["--path", "/ca"], ["r1"]),
    ],
)
def test_tap_shows_what_is_wanted(lb: Terminal, flags: list[str], found: list[str]) -> None:
    slow = {**request()["timings_ms"], "total": 90.0}
    two = request(id="r2", status=200, error=None, target="/slow", timings_ms=slow)
    lb.balancer.says({"items": []}).says({"items": [two, request()]}).fails(KeyboardInterrupt)
    assert [line.rpartition(" ")[2] for line in lb("tap", *flags).splitlines()] == found


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        (["--status", "5xx"], "&status=5xx"),
        (["--status", "50x"], ""),
        (["--backend", "web3", "--path", "/ca"], "&backend=web3"),
    ],
)
def test_tap_has_the_balancer_choose_so_that_a_page_is_full_of_what_is_wanted(
    lb: Terminal, flags: list[str], query: str
) -> None:
    lb.balancer.says({"items": []}).says({"items": [request()]}).fails(KeyboardInterrupt)
    assert len(lb("tap", *flags).splitlines()) == 1
    assert set(lb.balancer.asked) == {f"GET /requests?limit=200{query}"}


def test_a_status_that_is_none_is_refused(lb: Terminal) -> None:
    lb("tap", "--status", "6xx", code=2)
    assert "is not a status such as 502 or 5xx" in lb.err


def test_tap_says_whose_failure_it_is_and_when(lb: Terminal) -> None:
    own = request(status=503, error=None, ended="2026-11-22T10:00:00.040Z")
    lb.balancer.says({"items": []}).says({"items": [own]}).fails(KeyboardInterrupt)
    assert lb("tap") == "10:00:00.040Z  503 of web3  GET /cart  web3  40.0 ms  r1\n"


def test_tap_polls_for_all_and_shows_each_once(lb: Terminal) -> None:
    old, one, two = request(id="r0"), request(id="r1"), request(id="r2", attempts=[], error=None)
    lb.balancer.says({"items": [old]}).says({"items": [two, one, old]}).says({"items": [two, one, old]})
    lb.balancer.fails(KeyboardInterrupt)
    assert lb("tap").splitlines() == [
        "10:00:00.040Z  502 connection_refused  GET /cart  web3  40.0 ms  r1",
        "10:00:00.040Z  502  GET /cart  -  40.0 ms  r2",
    ]


def test_tap_shows_none_twice_that_a_worker_has_again(lb: Terminal) -> None:
    old, one, two = request(id="r0"), request(id="r1"), request(id="r2")
    missing = "worker 2 did not answer in time"
    lb.balancer.says({"items": [old]}).says({"items": [one, old]})
    lb.balancer.says({"items": [old]}, warning=missing).says({"items": [old]}, warning=missing)
    lb.balancer.says({"items": [two, one, old]}).fails(KeyboardInterrupt)
    assert [line.rpartition(" ")[2] for line in lb("tap").splitlines()] == ["r1", "r2"]
    assert lb.err.count(missing) == 1


def test_a_warning_is_told_again_where_it_comes_again(lb: Terminal) -> None:
    missing = "worker 2 did not answer in time"
    for warning in (missing, missing, None, missing):
        lb.balancer.says({"items": []}, warning=warning)
    lb.balancer.fails(KeyboardInterrupt)
    lb("tap")
    assert lb.err.count(missing) == 2


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
    assert lb("drain", "--wait", "1m", "--exit").endswith(": nothing is in flight after 1.5 s; it stops\n")
    lb.balancer.says({**done, "duration_seconds": 0.003}, 202)
    assert lb("drain", "--wait", "1m", "--exit").endswith(": nothing is in flight; it stops\n")
    assert lb.balancer.asked == ["POST /drain?wait=60&exit=true"] * 2


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
