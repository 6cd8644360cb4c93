"""`lb backends`: the calls that each command makes, its output and its exit code."""

import json
from typing import Any

import pytest

from tests.remote.kit import Terminal, backend, drain, drained, draining


def listed(name: str, why: str = "", **status: Any) -> dict[str, Any]:
    """One of the list, with its counters."""
    counts = {"in_flight": 2, "requests_total": 13056, "responses_5xx_total": 77, "failures_total": 9}
    return backend(id=name, source="config", status={"state": "ready", "why": why, **counts, **status})


LONG = listed("10.0.0.17-8080", "503 from /healthz " * 5, state="maintenance")


def test_ls_is_the_default_and_shows_the_table(lb: Terminal) -> None:
    for command in (["backends"], ["backends", "ls"]):
        lb.balancer.says({"items": [listed("web1"), listed("web2", "Connection\x1b refused", state="down")]})
        assert lb(*command).splitlines() == [
            "ID    POOL     URL                   STATE  WEIGHT  IN_FLIGHT  REQUESTS  5XX  FAILED  SOURCE"
            "  WHY",
            "web1  default  http://10.0.0.1:8000  ready  1       2          13056     77   9       config",
            "web2  default  http://10.0.0.1:8000  down   1       2          13056     77   9       config"
            "  Connection\\x1b refused",
        ]
    assert lb.balancer.asked == ["GET /backends"] * 2


@pytest.mark.parametrize("width", [80, 100, 200])
def test_ls_fits_the_terminal(lb: Terminal, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lb.balancer.says({"items": [listed("web1"), LONG]})
    head, first, second = lb("backends").splitlines()
    assert max(map(len, (head, first, second))) <= width
    for column in ("ID", "STATE", "REQUESTS", "5XX", "FAILED", "WHY"):
        assert column in head.split()
    assert ("URL" in head.split()) is (width == 200)
    assert "  503 from /heal" in second
    assert second.endswith("...") is (width < 200)
    lb.balancer.says({"items": [listed("web1"), LONG]})
    assert len(lb("backends", "ls", "--wide").splitlines()[2]) > 180


def test_a_pipe_gets_all(lb: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lb.balancer.says({"items": [LONG]})
    assert lb("backends").rstrip().endswith(LONG["status"]["why"].rstrip())


def test_ls_selects_and_gives_the_json(lb: Terminal) -> None:
    lb.balancer.says({"items": []})
    assert json.loads(lb("backends", "ls", "--pool", "api", "--state", "down", "--json")) == {"items": []}
    assert lb.balancer.asked == ["GET /backends?pool=api&state=down"]


def test_add_sends_what_was_given(lb: Terminal) -> None:
    lb.balancer.says(backend(), 201)
    out = lb("backends", "add", "http://10.0.0.1:8000", "--weight", "2", "--id", "web1", "--backup")
    assert out == "web1 is added: http://10.0.0.1:8000, pool default, weight 1, ready\n"
    lb.balancer.says({**backend(), "persisted": False}, status=201)
    assert lb("backends", "add", "http://10.0.0.1:8000").endswith(
        "ready (until the next start: there is no `state` file)\n"
    )
    sent = {"url": "http://10.0.0.1:8000", "id": "web1", "weight": 2, "backup": True}
    assert json.loads(lb.balancer.requests[0].body or b"") == sent


def test_adding_the_same_backend_again_is_no_error(lb: Terminal) -> None:
    lb.balancer.says(backend())
    assert lb("backends", "add", "http://10.0.0.1:8000").startswith("web1 was there already")


def test_ready_and_weight_change_one_backend(lb: Terminal) -> None:
    lb.balancer.says(backend())
    assert lb("backends", "ready", "web1").startswith("web1 is told to take requests")
    lb.balancer.says(backend(weight=5))
    assert "weight 5" in lb("backends", "weight", "web1", "5")
    assert lb.balancer.asked == ["POST /backends/web1/ready", "PATCH /backends/web1"]
    assert json.loads(lb.balancer.requests[1].body or b"") == {"weight": 5}


def test_a_drain_is_waited_for(lb: Terminal) -> None:
    lb.balancer.says(draining(3), 202).says(draining(1)).says(drained())
    out = lb("backends", "drain", "web1", "--timeout", "60s", "--then", "keep")
    assert out == "web1 is drained: 3 requests ended in 4.2 s\n"
    assert lb.balancer.asked == [
        "POST /backends/web1/drain?timeout=60s&then=keep",
        *["GET /backends/web1?wait=drained&timeout=30.000"] * 2,
    ]


def test_a_drain_of_one_that_was_idle_says_so(lb: Terminal) -> None:
    lb.balancer.says(backend("draining", {**drain(0, "completed"), "started_with": 0}))
    assert lb("backends", "drain", "web1") == "web1 is drained: nothing was running\n"


def test_a_drain_says_how_many_it_has_cut(lb: Terminal) -> None:
    lb.balancer.says(drained(aborted=2))
    assert "2 of them cut at the timeout" in lb("backends", "drain", "web1")


@pytest.mark.parametrize("flags", [["--wait", "0s"], ["--wait", "0"]])
def test_a_wait_that_ends_first_has_a_code_of_its_own(lb: Terminal, flags: list[str]) -> None:
    lb.balancer.says(draining(2), 202)
    assert lb("backends", "drain", "web1", *flags, code=4) == ""
    assert lb.err.splitlines() == [
        "lb: web1 is draining: 2 of 3 remain, which are cut in 59.5 s",
        "the drain goes on; lb backends ready web1 takes it back",
    ]


def test_json_is_the_last_response_whatever_the_exit_code(lb: Terminal) -> None:
    lb.balancer.says(draining(2), 202)
    assert json.loads(lb("backends", "drain", "web1", "--wait", "0s", "--json", code=4)) == draining(2)
    lb.balancer.says(draining(2), 202).says(drained())
    assert json.loads(lb("backends", "drain", "web1", "--json")) == drained()


def test_no_wait_returns_at_once(lb: Terminal) -> None:
    lb.balancer.says(draining(2), 202)
    assert lb("backends", "drain", "web1", "--no-wait").startswith("web1 is draining: 2 of 3 remain")


def test_a_drain_that_has_not_ended_names_what_it_waits_for(lb: Terminal) -> None:
    waited_for = {
        **{"id": "r1", "client": "127.0.0.1:5", "method": "GET", "target": "/slow"},
        **{"phase": "tunnel", "seconds": 90.0},
    }
    lb.balancer.says(backend("draining", {**drain(1), "waiting_for": [waited_for]}), 202)
    lb("backends", "drain", "web1", "--wait", "0s", code=4)
    assert lb.err.splitlines()[1] == "  GET /slow  tunnel  90.0 s  from 127.0.0.1:5  id r1"


def test_a_drain_that_is_taken_back_is_refused(lb: Terminal) -> None:
    lb.balancer.says(draining(2), 202).says(backend())
    lb("backends", "drain", "web1", code=5)
    assert lb.err == "lb: the drain of web1 was taken back: it is ready\n"


def test_a_drain_can_end_in_maintenance(lb: Terminal) -> None:
    lb.balancer.says(draining(2), 202).says(backend("maintenance"))
    assert lb("backends", "drain", "web1", "--then", "maintenance") == "web1 is drained, and in maintenance\n"


def test_rm_waits_until_it_is_gone(lb: Terminal) -> None:
    lb.balancer.says(draining(2), 202).refuses(404, "there is no backend 'web1'")
    assert lb("backends", "rm", "web1", "--timeout", "5s") == "web1 is removed\n"
    assert lb.balancer.asked[0] == "DELETE /backends/web1?drain_timeout=5s"


def test_rm_force_cuts(lb: Terminal) -> None:
    lb.balancer.says(None, 204)
    assert lb("backends", "rm", "web1", "--force") == "web1 is removed\n"
    assert lb.balancer.asked == ["DELETE /backends/web1?force=true"]


def test_ctrl_c_leaves_the_drain_running_and_says_so(lb: Terminal) -> None:
    lb.balancer.says(draining(2), 202).fails(KeyboardInterrupt)
    lb("backends", "drain", "web1", code=130)
    assert lb.err == "lb: the drain goes on; lb backends ready web1 takes it back\n"


def test_a_warning_of_the_balancer_is_passed_on(lb: Terminal) -> None:
    lb.balancer.says(drained(), warning="pool default has no backend that takes requests")
    lb("backends", "drain", "web1")
    assert lb.err == "lb: pool default has no backend that takes requests\n"


@pytest.mark.parametrize("backend", ["", ".", ".."])
def test_an_id_that_would_name_another_path_is_not_found(lb: Terminal, backend: str) -> None:
    lb("backends", "drain", backend, code=3)
    assert lb.balancer.asked == []


def test_an_id_with_a_slash_stays_one_step_of_the_path(lb: Terminal) -> None:
    lb.balancer.refuses(404, "no")
    lb("backends", "rm", "../drain?x=1", code=3)
    assert lb.balancer.asked == ["DELETE /backends/..%2Fdrain%3Fx%3D1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drain", "web1", "--wait", "soon"], "--wait: expected a duration"),
        (["drain", "web1", "--wait", "1s", "--no-wait"], "--wait and --no-wait exclude each other"),
        (["drain", "web1", "--then", "explode"], "Invalid value"),
        (["drain"], "requires an argument"),
        (["weight", "web1", "heavy"], "Invalid value"),
        (["explode"], "explode"),
    ],
)
def test_misuse(lb: Terminal, arguments: list[str], message: str) -> None:
    lb("backends", *arguments, code=2)
    assert message in lb.err
    assert lb.balancer.asked == []


def test_a_terminal_gets_a_bar_that_counts_what_remains(
    lb: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    lb.balancer.says(backend("draining", drain(2)), 202).says(drained())
    assert lb("backends", "drain", "web1") == "web1 is drained: 3 requests ended in 4.2 s\n"
    assert "2 of 3 remain" in lb.err
