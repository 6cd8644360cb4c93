"""The rows of the benchmark, each for a moment: that they measure something, not what."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import arguments, report
from tests.bench.beside import Results, measure
from tests.bench.cases import CASES, Case
from tests.bench.handshakes import CLIENTS
from tests.bench.heads import AB, BEHIND_CDNS, JAVA, for_page, over_routes, quoted
from tests.bench.loads import Result, Trouble, result, wrk
from tests.bench.processes import children
from tests.bench.programs import PROGRAMS, can
from tests.bench.setting import PLAIN, Place, Setting

PLACE = Place(PLAIN, 1, [2, 3], Path("/"))
TWO_ALONE = Setting(copies=2)
SECONDS_TO_END = 20
OF_SMALL = ("small GET", ("trio-lb", PLAIN))
WRK = "  {requests} requests in 1.00s, 1.00KB read\n     50%  250.00ms\n     99%    2.00ms\n"


@pytest.mark.needs("nginx", "wrk")
def test_rows_of_two_settings_are_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = ["CDN head", "HTTP/1.0 and a connection per request", "20 routes"]
    names = ["trio-lb", "nginx"]
    few = Setting(routes=20)
    monkeypatch.setitem(CASES, "20 routes", Case(wrk("/", script=over_routes(few)), few, PLAIN))
    results = measure(cases, names, rounds=1, seconds=0.1)
    text = report(results, cases, names)
    assert not results.failed
    shown = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    for case in cases:
        assert results.of(case, "nginx")[0].cost > 0
        assert "-" not in shown[case].replace(case, "")
    assert shown["20 routes"].count("[") == 1
    assert "Not measured: trio-lb compiled" in text


@pytest.mark.needs("nginx")
def test_handshakes_are_full_ones_of_the_newest_version() -> None:
    """The load ends with trouble at one that is not."""
    case = "TLS: a full handshake and a request"
    results = measure([case], ["nginx"], rounds=1, seconds=0.5)
    [(_, [measured])] = results.found.items()
    assert not results.failed
    assert measured.requests >= CLIENTS


@pytest.mark.needs("nginx", "wrk")
def test_workers_are_measured_beside_as_many_that_are_alone() -> None:
    results = measure(["2 workers"], ["trio-lb"], rounds=1, seconds=0.1)
    (together,), (apart,) = results.of("2 workers", "trio-lb"), results.of("2 workers", "trio-lb", TWO_ALONE)
    assert together.cost > 0 < apart.cost
    assert report(results, ["2 workers"], ["trio-lb"]).count("[") == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_program_is_measured_with(name: str) -> None:
    assert can(name, PLAIN)
    assert can(name, Setting(policy="hash")) is name.startswith("trio-lb")
    assert can(name, Setting(100)) is (name not in ("ancestor", "textbook"))


def test_backends_are_addresses_of_their_own() -> None:
    many = Place(Setting(10000), 1, [2, 3, 4], Path("/"))
    assert len(set(many.backends())) == 10000
    assert list(PLACE.backends()) == ["127.1.0.1:2", "127.1.0.2:3", "127.1.0.3:2"]


def test_routes_are_hosts_with_paths() -> None:
    many = Setting(routes=20000)
    assert len({host + path for host in many.hosts for path in many.paths}) == 20000
    assert (Setting(routes=1).hosts, Setting(routes=1).paths) == (["www000.example.com"], ["/hello/00"])


@pytest.mark.parametrize("lines", [*BEHIND_CDNS, *JAVA, *AB])
def test_heads_are_those_of_the_table_for_our_page(lines: tuple[bytes, ...]) -> None:
    mended = for_page(lines)
    assert mended[0].split() == [b"GET", b"/hello", lines[0].split()[-1]]
    assert mended[1:] == list(lines[1:])


def test_strings_of_lua_have_every_byte() -> None:
    assert quoted(b'a"\\\r\n') == '"a\\034\\092\\013\\010"'


def test_a_report_is_cost_and_latencies() -> None:
    assert result([WRK.format(requests=1000)], 0.05) == Result(50.0, 1000, 0.25, 2e-3)
    assert result([WRK.format(requests=600), WRK.format(requests=400)], 0.05).cost == 50.0


@pytest.mark.parametrize(
    "report", ["", WRK.format(requests=0), WRK.format(requests=9) + "  Non-2xx or 3xx: 9"]
)
def test_requests_that_fail_are_no_measurement(report: str) -> None:
    with pytest.raises(Trouble):
        result([WRK.format(requests=1), report], 1)


def test_cells_compare_with_peers_and_with_a_base() -> None:
    results = Results()
    case = CASES["access log"]
    results.found[OF_SMALL] = [Result(50)]
    results.found["small GET", ("nginx", PLAIN)] = [Result(20)]
    results.found["access log", ("trio-lb", case.setting)] = [Result(60), Result(90)]
    results.found["access log", ("trio-lb", PLAIN)] = [Result(50), Result(60)]
    text = report(results, ["small GET", "access log"], ["trio-lb", "nginx"])
    assert "| small GET | 50 | 20 (2.50) |" in text
    assert "| access log | 75 [1.35] | - |" in text


def test_policies_have_a_table_by_the_number_of_backends() -> None:
    results = Results()
    results.found["1000 backends by hash", ("trio-lb", Setting(1000, "hash"))] = [Result(60)]
    results.found["1000 backends by hash", ("trio-lb", Setting(3, "hash"))] = [Result(50)]
    text = report(results, ["1000 backends by hash"], ["trio-lb", "nginx"])
    assert text.startswith("| backends | 3 | 100 | 1000 | 10000 |\n")
    assert "| hash | 50 | - | 60 [1.20] | - |" in text


def test_rows_are_chosen_by_pattern_and_mistakes_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert arguments(["--cases", "1 *,small GET"]).cases == ["small GET", "1 MiB", "1 GiB"]
    with pytest.raises(SystemExit):
        arguments(["--cases", "small gte"])
    assert "no row is 'small gte'" in capsys.readouterr().err


@pytest.mark.needs("nginx", "wrk")
def test_what_was_started_ends_with_it() -> None:
    """A session of the benchmark that is ended in the middle leaves no program behind."""
    command = [sys.executable, "-m", "tests.bench", "--only=nginx", "--cases=small GET", "--seconds=60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "nginx is up\n"
        started = [os.pidfd_open(pid) for pid in children(process.pid)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_TO_END) == 128 + signal.SIGTERM
    assert len(started) >= 2
    for program in started:
        ended, _, _ = select.select([program], [], [], SECONDS_TO_END)
        os.close(program)
        assert ended
