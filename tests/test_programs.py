"""A test whose program is missing is skipped and the program named, or it fails: `tests/conftest.py`."""

import os
import subprocess
import sys
from pathlib import Path

from tests.programs import DEBIAN, missing, packages

ROOT = Path(__file__).parents[1]
ADVICE = "not on PATH: nginx, wrk (on Debian: apt install nginx-light wrk; nginx is in /usr/sbin)"
TESTS = """
import pytest

@pytest.mark.needs("wrk", "nginx")
def test_with_two_programs():
    raise AssertionError("it has run")

def test_without():
    pass
"""


def run(folder: Path, *arguments: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    """Run pytest on TESTS with an empty folder for a PATH, and of all plugins with our conftest and xdist."""
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), "-p", "tests.conftest"]
    environment = os.environ | {"PATH": str(folder), "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, "-p", "xdist", *arguments, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_line_near_the_end_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    done = run(tmp_path)
    *_, told, counts = done.stdout.splitlines()
    assert told == f"skipped: {ADVICE}"
    assert " 1 passed, 1 skipped in " in counts
    assert done.returncode == 0


def test_so_it_is_with_two_workers(tmp_path: Path) -> None:
    *_, told, counts = run(tmp_path, "--numprocesses", "2").stdout.splitlines()
    assert told.startswith("skipped: not on PATH: nginx, wrk ")
    assert " 1 passed, 1 skipped in " in counts


def test_with_ci_set_it_is_a_failure_without_a_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, ci="true")
    assert ADVICE in done.stdout
    assert "Traceback" not in done.stdout
    assert " 1 passed, 1 error in " in done.stdout.splitlines()[-1]
    assert done.returncode == 1


def test_with_everything_asked_for_too(tmp_path: Path) -> None:
    assert run(tmp_path, "--everything").returncode == 1


def test_a_program_without_a_package_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(TESTS.replace("wrk", "netcat"))
    done = run(tmp_path)
    assert "needs netcat, which tests/programs.py does not have" in done.stderr
    assert done.returncode == 4


def test_programs_of_one_package_name_it_once() -> None:
    assert packages(["promtool", "nginx", "prometheus"]) == ["nginx-light", "prometheus"]


def test_the_command_prints_the_packages_of_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.programs"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == packages(DEBIAN)
    assert missing([]) == []
