"""What all tests share: the marks `virtual_time`, `needs`, `pure` and `alone`, and what each of them does."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from lb.about import BUILD, VERSION
from tests.programs import DEBIAN, advice, missing
from tests.turns import Turns

pytest.register_assert_rewrite("tests.kit")

MARKERS = (
    "virtual_time: it runs on a clock that jumps when every task waits",
    "needs(program, ...): it starts these programs, which pip does not install (tests/programs.py)",
    "pure: it replaces or counts what cannot be replaced or counted where it is compiled",
    "plain_only(reason): it says something that is not so with TLS (tests/kit/wires.py)",
    "alone: it runs while no other test does (tests/turns.py)",
)
SLOW = tuple(Path(__file__).parent / folder for folder in ("system", "browser"))
"""What takes longest begins first, so that the workers end at about the same time."""
ABSENT = "absent program"
RERUNS = 2
"""How often a test that failed is tried again with CI set, where other programs take the cores for seconds.

Each is listed as RERUN, and the counts have them: one that comes and goes is a fault to look for. Without CI
it fails at once.
"""
TURNS = pytest.StashKey[Turns]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--everything",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="a program that is missing fails its tests, which are skipped otherwise; so it is with CI set",
    )


def pytest_report_header() -> str:
    return f"trio-lb {VERSION} ({BUILD})"


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    can_rerun = config.pluginmanager.hasplugin("rerunfailures")
    if can_rerun and os.environ.get("CI") and config.option.reruns is None:
        config.option.reruns = RERUNS
        config.option.reportchars += "R"
        config.option.rerun_show_tracebacks = True
    if hasattr(config, "workerinput"):  # one of several workers; pytest-xdist has set its folder
        config.stash[TURNS] = Turns(Path(config.option.basetemp).parent)


def pytest_unconfigure(config: pytest.Config) -> None:
    if turns := config.stash.get(TURNS, None):
        turns.close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the clock of tests on virtual time, after pytest-trio has set its own."""
    for item in items:
        if item.get_closest_marker("virtual_time") is not None:
            from tests.kit.time import run_on_virtual_time

            item.add_marker(pytest.mark.trio(run=run_on_virtual_time), append=False)
        for program in needed(item):
            if program not in DEBIAN:
                raise pytest.UsageError(
                    f"{item.nodeid} needs {program}, which tests/programs.py does not have"
                )
    if TURNS in config.stash:
        items.sort(key=rank)


def rank(item: pytest.Item) -> int:
    """Its place in the order of several workers: while a test is alone the others wait, so it comes last."""
    if is_alone(item):
        return 2
    return 0 if any(item.path.is_relative_to(folder) for folder in SLOW) else 1


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    turns = item.config.stash.get(TURNS, None)
    if turns is None:
        return (yield)
    with turns.turn(alone=is_alone(item)):
        return (yield)


# -- programs that are missing ---------------------------------------------------------------------------


def needed(item: pytest.Item) -> list[str]:
    return [program for mark in item.iter_markers("needs") for program in mark.args]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if BUILD == "compiled" and item.get_closest_marker("pure"):
        pytest.skip("for the pure build")
    absent = missing(needed(item))
    if not absent:
        return
    reason = advice(absent)
    if item.config.getoption("everything"):
        pytest.fail(reason, pytrace=False)
    item.user_properties.extend((ABSENT, program) for program in absent)
    pytest.skip(reason)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.getreports("skipped")
    absent = {program for report in skipped for name, program in report.user_properties if name == ABSENT}
    if absent:
        terminalreporter.write_line(f"skipped: {advice(absent)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "wires" in metafunc.fixturenames:
        from tests.kit.wires import KINDS  # the kit's own assertions are rewritten first

        is_plain = metafunc.definition.get_closest_marker("plain_only") is not None
        metafunc.parametrize("wires", ["plain"] if is_plain else list(KINDS), indirect=True)


@pytest.fixture
def wires(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test runs with such bytes on the network (`tests.kit.wires`)."""
    from tests.kit.wires import KINDS, among

    with among(KINDS[request.param]):
        yield
