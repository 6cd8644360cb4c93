"""`lb pools`, `audit`, `reload`, `config`, `rollout`, `token`, and what `lb backends` does beside drains."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lb import cli
from lb.config.loader import load
from lb.config.tokens import parse
from lb.remote import backend_commands, fresh_probes
from tests.remote.kit import Terminal, backend, drained, draining
from tests.remote.test_watching import STATS

NOTHING: dict[str, Any] = {
    **{"changed": False, "summary": "nothing changes", "settings": [], "kept": [], "needs_restart": []},
    "pools": {"added": [], "changed": [], "emptied": []},
    "backends": {"added": [], "changed": [], "removed": []},
    "unchecked": [],
}
WEB = {"id": "web1", "pool": "default", "changes": [{"key": "weight", "before": 1, "after": 5}]}
ENTRY = {
    **{
        "at": "10:00",
        "who": "deploy",
        "source": "10.0.0.7",
        "operation": "POST /backends/{id}/drain",
        "target": "web1",
    },
    **{"changes": {"state": ["ready", "draining"]}, "untold": 0, "status": 200, "why": "", "and_more": 0},
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are over at once."""
    monkeypatch.setattr(backend_commands, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(fresh_probes, "MOST_PAUSE_SECONDS", 0.0)


PROBE = {"rise": 2, "timeout": 2.0, "changing_interval": 0.5}


def pool(probe: dict[str, Any] | None) -> dict[str, Any]:
    return {"name": "default", "settings": {"probe": probe}}


def probed(ok: bool) -> dict[str, Any]:
    last = {"ok": ok, "why": "ok 200" if ok else "connection refused", "seconds": 0.001}
    return backend(status={"health": {"last": last, "verdict": "up"}})


def shown(why_not: str | None = None, name: str = "web1") -> dict[str, Any]:
    one = backend(id=name)
    return {**one, "status": {**one["status"], "why_not": why_not}}


def test_pools_are_a_table(lb: Terminal) -> None:
    pool = {**STATS["pools"][0], "policy": "ewma"}  # type: ignore[index]
    lb.balancer.says({**STATS, "pools": [pool]})
    head, row = lb("pools").splitlines()
    assert head.split()[:3] == ["POOL", "POLICY", "AVAILABLE"]
    assert row.split() == ["default", "ewma", "1", "of", "2", "12.5", "2%", "12", "ms", "-", "3", "1"]


def test_an_act_is_a_line(lb: Terminal) -> None:
    lb.balancer.says({"items": [ENTRY, {**ENTRY, "status": None, "why": "no\x1b", "and_more": 3}]})
    first, second = lb("audit", "--limit", "2").splitlines()
    assert (
        first == "10:00  deploy from 10.0.0.7  POST /backends/{id}/drain web1  200  state: ready -> draining"
    )
    assert second.endswith("state: ready -> draining  no\\x1b  and 3 more")
    assert lb.balancer.asked == ["GET /audit?limit=2"]


def test_of_many_changes_the_first_are_told(lb: Terminal) -> None:
    changes = {f"k{number}": [None, number] for number in range(5)}
    lb.balancer.says({"items": [{**ENTRY, "changes": changes, "untold": 2}]})
    assert lb("audit").strip().endswith("k0: - -> 0, k1: - -> 1, k2: - -> 2, 4 more")
    lb.balancer.says({"items": []})
    assert lb("audit") == "nobody has changed anything\n", "a former balancer does not say since when"


def test_the_audit_says_since_when_and_where_older_acts_are(lb: Terminal) -> None:
    since = {"items": [], "remembered_since": "2027-01-15T08:00:00.125Z"}
    lb.balancer.says({**since, "file": None})
    *_, last = lb("audit").splitlines()
    assert last == "remembered since 2027-01-15T08:00:00Z; with admin.audit_file a file would have all"
    lb.balancer.says({**since, "items": [ENTRY], "file": "/var/log/lb/audit\x1b"})
    *_, last = lb("audit").splitlines()
    assert last == "remembered since 2027-01-15T08:00:00Z; /var/log/lb/audit\\x1b has all"


def test_a_reload_says_what_has_changed(lb: Terminal) -> None:
    settings = [{"key": "timeouts.connect", "before": 2.0, "after": 3.0}]
    told = {
        **NOTHING,
        **{"summary": "3 changes", "settings": settings, "needs_restart": settings, "unchecked": ["x"]},
        "pools": {"added": ["api"], "changed": ["web"], "emptied": ["old"]},
        "backends": {"added": [WEB], "changed": [WEB], "removed": [WEB]},
        "kept": [{"key": "web1.weight", "why": "set at runtime"}],
    }
    lb.balancer.says(told)
    assert lb("reload").splitlines() == [
        "3 changes",
        "+ pool api",
        "~ pool web",
        "- pool old, once its last backend has left",
        "+ backend web1 of pool default",
        "- backend web1 of pool default",
        "~ backend web1 of pool default: weight: 1 -> 5",
        "~ timeouts.connect: 2.0 -> 3.0",
        "= web1.weight: set at runtime",
        "! timeouts.connect: 2.0 -> 3.0, after a restart",
        "? x names code or a file, and was not tried",
    ]
    lb.balancer.says(NOTHING)
    lb("reload", "--dry-run")
    assert lb.balancer.asked == ["POST /config/reload", "POST /config/validate"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unset"),
        (True, "true"),
        (["/a", 'b"'], r'["/a", "b\""]'),
        ({"path": "/", "rise": None, "x y": []}, '{path = "/", "x y" = []}'),
        ("\x1b[31m", r'"\u001b[31m"'),
    ],
)
def test_values_are_written_as_in_a_file(lb: Terminal, value: object, text: str) -> None:
    lb.balancer.says({**NOTHING, "settings": [{"key": "a.b", "before": value, "after": 2.0}]})
    assert lb("reload").splitlines()[1] == f"~ a.b: {text} -> 2.0"


def test_the_audit_writes_tables_and_lists_as_a_file_would(lb: Terminal) -> None:
    lb.balancer.says(
        {"items": [{**ENTRY, "changes": {"labels": [None, {"zone": "a"}], "backup": [False, True]}}]}
    )
    assert lb("audit").strip().endswith('labels: - -> {zone = "a"}, backup: false -> true')


def test_a_file_is_compared_with_what_runs(lb: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("workers = 2\n")
    lb.balancer.says(NOTHING)
    assert lb("config", "diff", str(file)) == "nothing changes\n"
    [request] = lb.balancer.requests
    assert (request.body, request.fields["Content-Type"]) == (b"workers = 2\n", "application/toml")
    lb("config", "diff", str(tmp_path / "none.toml"), code=2)
    assert "No such file" in lb.err


def test_a_mistake_in_that_file_is_told(lb: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("listn = 1\n")
    lb.balancer.refuses(422, "the file has a mistake", [{"pointer": "#/listn", "detail": "unknown key"}])
    lb("config", "diff", str(file), code=5)
    assert lb.err == "lb: the file has a mistake: listn: unknown key\n"


def test_a_mistake_that_the_message_has_is_told_once(lb: Terminal) -> None:
    said = "lb.toml, line 3: pools.default.probe.path: 'healthz' is not a path such as /healthz"
    mistake = {
        "pointer": "#/pools/default/probe/path",
        "detail": "'healthz' is not a path such as /healthz",
    }
    lb.balancer.refuses(422, said, [mistake])
    lb("reload", code=5)
    assert lb.err == f"lb: {said}\n"


def test_the_configuration_is_shown_as_a_file(lb: Terminal) -> None:
    lb.balancer.says_text("workers = 1\n", "application/toml")
    assert lb("config", "show") == "workers = 1\n"
    assert lb.balancer.asked == ["GET /config?format=toml"]


def test_a_first_file_is_right_and_never_written_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lb.toml"
    assert cli.main(["config", "init", str(file)]) == 0
    assert len(load(file).pools["default"].backends) == 2
    file.write_text("mine")
    assert cli.main(["config", "init", str(file)]) == 2
    assert file.read_text() == "mine"
    assert "never overwritten" in capsys.readouterr().err


def test_a_new_token_is_let_in_by_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "new", "ci", "drain"]) == 0
    out, err = capsys.readouterr()
    [token] = parse(out)
    secret = err.rstrip().rpartition(" ")[2]
    assert (token.name, token.scope, token.digest) == (
        "ci",
        "drain",
        hashlib.sha256(secret.encode()).digest(),
    )
    assert secret not in out


@pytest.mark.parametrize("name", ["", "a b", "signal", "x" * 65])
def test_a_token_needs_a_name_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "new", name, "read"]) == 2
    assert "is not a name" in capsys.readouterr().err


def test_a_probe_that_fails_is_a_failure(lb: Terminal) -> None:
    last = {"ok": True, "why": "200", "seconds": 0.002}
    lb.balancer.says(backend(status={"health": {"last": last, "verdict": "up"}}))
    assert lb("backends", "check", "web1") == "web1: 200 in 2.0 ms; it is up\n"
    lb.balancer.says(backend(status={"health": {"last": {**last, "ok": False}, "verdict": "down"}}))
    lb("backends", "check", "web1", code=1)
    assert "it is down" in lb.err


def test_maintenance_is_at_once(lb: Terminal) -> None:
    lb.balancer.says(shown())
    assert lb("backends", "maintenance", "web1").startswith("web1 is out: ")
    assert lb.balancer.asked == ["POST /backends/web1/maintenance"]


def test_ready_may_wait_until_it_takes_requests(lb: Terminal) -> None:
    lb.balancer.says(shown()).says(pool(PROBE))
    for ok in (True, False, True, True):
        lb.balancer.says(probed(ok))
    lb.balancer.says(shown("full 5/5")).says(shown())
    assert lb("backends", "ready", "web1", "--wait", "9s").startswith("web1 takes requests: ")
    assert lb.balancer.asked == [
        *["POST /backends/web1/ready", "GET /pools/default"],
        *["POST /backends/web1/check"] * 4,
        *["GET /backends/web1"] * 2,
    ]
    lb.balancer.says(shown()).says(pool({**PROBE, "rise": 1})).says(probed(True)).says(shown("weight 0"))
    lb("backends", "ready", "web1", "--wait", "0s", code=4)
    assert "web1 takes no requests after 0.0 ms: weight 0" in lb.err


def test_a_verdict_of_before_does_not_count(lb: Terminal) -> None:
    lb.balancer.says(shown()).says(pool(PROBE)).says(probed(False))
    lb("backends", "ready", "web1", "--wait", "0s", code=4)
    assert lb.err == (
        "lb: web1 is not back after 0.0 ms: 0 of 2 probes in a row have passed, the last one:"
        " connection refused\n"
    )


def test_without_a_probe_it_says_that_nothing_has_looked(lb: Terminal) -> None:
    lb.balancer.says(shown()).says(pool(None)).says(shown())
    assert lb("backends", "ready", "web1", "--wait", "9s").startswith(
        "web1 gets requests, but whether it answers is not known, as its pool has no probe: "
    )


def writes(file: Path) -> list[str]:
    """A command that adds a line for its backend."""
    code = (
        "import os, sys; open(sys.argv[1], 'a').write(os.environ['LB_BACKEND'] + ' ' + sys.argv[2] + '\\n')"
    )
    return ["--", sys.executable, "-c", code, str(file), "{url}"]


def test_a_rollout_goes_through_those_that_are_ready(lb: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "told"
    there = [shown(name="web1"), {**shown(name="web2"), "admin_state": "maintenance"}, shown(name="web3")]
    lb.balancer.says({"items": there}).says(pool(PROBE))
    for name in ("web1", "web3"):
        lb.balancer.says({**drained(), "id": name}).says(probed(False)).says(probed(True)).says(probed(True))
        lb.balancer.says(shown(name=name)).says(shown("checking", name)).says(shown(name=name))
    out = lb("rollout", *writes(file))
    assert file.read_text() == "web1 http://10.0.0.1:8000\nweb3 http://10.0.0.1:8000\n"
    assert out.splitlines()[0] == "web2 is left out: it is maintenance"
    assert out.splitlines()[-1] == "done: 2 backends"
    assert lb.balancer.asked[2:7] == [
        "POST /backends/web1/drain?keep_available=1",
        *["POST /backends/web1/check"] * 3,
        "POST /backends/web1/ready",
    ]


def test_it_stops_at_the_first_that_is_dead_and_leaves_it_out(lb: Terminal) -> None:
    lb.balancer.says({"items": [shown(), shown(name="web2")]}).says(pool(PROBE))
    lb.balancer.says(drained()).says(probed(False))
    lb("rollout", "--back-within", "0s", "true", code=4)
    assert "web1 is not back after 0.0 ms: 0 of 2 probes in a row have passed" in lb.err
    assert "untouched: web2" in lb.err
    assert "POST /backends/web1/ready" not in lb.balancer.asked


def test_a_pool_without_a_probe_is_begun_with_only_where_that_is_wanted(lb: Terminal) -> None:
    lb.balancer.says({"items": [shown()]}).says(pool(None))
    lb("rollout", "true", code=5)
    assert lb.err.startswith("lb: pool default has no probe")
    assert "--unchecked" in lb.err
    lb.balancer.says({"items": [shown()]}).says(pool(None)).says(drained()).says(shown()).says(shown())
    assert "whether it answers is not known" in lb("rollout", "--unchecked", "true")


def test_it_stops_at_the_first_whose_command_fails(lb: Terminal) -> None:
    lb.balancer.says({"items": [shown(name=f"web{number}") for number in (1, 2, 3)]}).says(pool(PROBE))
    lb.balancer.says(drained())
    lb("rollout", "--", sys.executable, "-c", "raise SystemExit(3)", code=1)
    assert "ended with exit code 3" in lb.err
    assert "stopped at web1; lb backends ready web1 puts it back" in lb.err
    assert "untouched: web2 web3" in lb.err


def test_one_that_may_not_drain_was_not_touched(lb: Terminal) -> None:
    lb.balancer.says({"items": [shown(), shown(name="web2")]}).says(pool(PROBE))
    lb.balancer.refuses(409, "it would leave 0 available")
    lb("rollout", "true", code=5)
    assert lb.err == "lb: it would leave 0 available\nstopped; untouched: web1 web2\n"


def test_a_drain_that_lasts_too_long_stops_it_too(lb: Terminal) -> None:
    lb.balancer.says({"items": [shown()]}).says(pool(PROBE)).says(draining(2))
    lb("rollout", "--wait", "0s", "true", code=4)
    assert "2 of 3 remain" in lb.err
    assert "stopped at web1" in lb.err


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--only", "web9"], "there is no backend web9, did you mean `web"),
        (["--only", "x"], "there is no backend x; there are: web1, web2\n"),
        (["--only", "web2"], "there is no backend that is ready"),
    ],
)
def test_who_is_not_there_is_named(lb: Terminal, flags: list[str], why: str) -> None:
    lb.balancer.says({"items": [shown(), {**shown(name="web2"), "admin_state": "draining"}]})
    lb("rollout", "true", *flags, code=3)
    assert why in lb.err


def test_without_a_command_nothing_is_asked(lb: Terminal) -> None:
    lb("rollout", code=2)
    assert lb.balancer.asked == []


def test_the_answers_are_there_as_json(lb: Terminal) -> None:
    for command, answer in (("pools", {"items": []}), ("audit", {"items": []}), ("reload", NOTHING)):
        lb.balancer.says(answer)
        assert json.loads(lb(command, "--json")) == answer


def test_the_log_level_is_said_and_changed(lb: Terminal) -> None:
    lb.balancer.says({"level": "info", "configured": "info", "seconds_left": None})
    assert lb("log-level") == "info, as configured\n"
    lb.balancer.says({"level": "debug", "configured": "info", "seconds_left": 300.0})
    assert lb("log-level", "debug", "--for", "5m") == "debug, for 300.0 s; configured: info\n"
    lb.balancer.says({"level": "error", "configured": "info", "seconds_left": None})
    assert lb("log-level", "error") == "error, until it is changed; configured: info\n"
    assert lb.balancer.asked == ["GET /log-level", "PUT /log-level", "PUT /log-level"]
    sent = [json.loads(each.body) for each in lb.balancer.requests if each.body]
    assert sent == [{"level": "debug", "for": 300.0}, {"level": "error"}]


def test_a_time_for_a_log_level_goes_with_one(lb: Terminal) -> None:
    lb("log-level", "--for", "5m", code=2)
    lb("log-level", "configured", "--for", "5m", code=2)
    lb("log-level", "loud", code=2)
