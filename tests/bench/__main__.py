"""`just bench`: CPU for each request beside the peers, interleaved, medians; `--write` puts it in the README.

python -m tests.bench [--rounds 5] [--seconds 2] [--cases NAME,...] [--only NAME,...] [--logs] [--write]
python -m tests.bench --only trio-lb --before ../before      another checkout beside this one, for an A/B run
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.bench.cases import CASES, Result, write_backend
from tests.bench.programs import (
    LOAD_CORE,
    PROGRAM_CORE,
    PROGRAMS,
    VERSIONS,
    Setting,
    before,
    free_port,
    installed,
    started,
)

Results = dict[tuple[str, str], list[Result]]
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"
NONE = "-"
NUMBER = re.compile(r"\d+\.\d+\.\d+")
ONCE = frozenset(("idle connection",))
"""Memory: a program that has grown once fills the same room again."""
NOT_FOR = {
    "1 GiB": {"textbook"},
    "1 MiB": {"textbook"},
    "idle connection": {"textbook", "ancestor", "HAProxy", "nginx"},  # HAProxy asks for twice the descriptors
    "chunked response": {"ancestor"},
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--only", "--programs", dest="programs", default=",".join(installed()))
    parser.add_argument("--before", type=Path, help="another checkout, set up by `just run`, to compare with")
    parser.add_argument("--logs", action="store_true", help="with everybody's access log on")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    return parser.parse_args()


@contextmanager
def everybody(names: list[str], root: Path, logs: bool) -> Iterator[dict[str, tuple[int, int]]]:
    """All programs, and the backends behind them: (port, pid) of each."""
    backends = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        config = write_backend(root, backends)
        stack.enter_context(started(["nginx", "-p", str(root), "-c", config], backends[0], LOAD_CORE))
        running = {}
        for name in names:
            folder = root / name
            folder.mkdir()
            setting = Setting(free_port(), backends, folder, logs)
            process = stack.enter_context(started(PROGRAMS[name](setting), setting.port, PROGRAM_CORE))
            running[name] = setting.port, process.pid
        yield running


def measure(options: argparse.Namespace) -> Results:
    names, cases = options.programs.split(","), options.cases.split(",")
    results: Results = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, everybody(names, Path(folder), options.logs) as running:
        for round in range(options.rounds):
            for case in cases:
                for name in names:
                    if name in NOT_FOR.get(case, ()) or (case in ONCE and round):
                        continue
                    port, pid = running[name]
                    result = CASES[case](port, pid, Path(folder), options.seconds)
                    results[case, name].append(result)
                    sys.stderr.write(f"{round + 1}/{options.rounds} {case}: {name} {result.cpu_us:.1f}\n")
    return results


def table(results: Results, options: argparse.Namespace) -> str:
    names = [name for name in PROGRAMS if name in options.programs.split(",")]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for case in options.cases.split(","):
        cells = [cell(case, results.get((case, name)), results.get((case, "trio-lb"))) for name in names]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    for case in ("256 connections", "one connection"):
        cells = [late(results.get((case, name))) for name in names]
        if any(cell != NONE for cell in cells):
            lines.append(f"| {case}: p50 / p99 in ms | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(case: str, theirs: list[Result] | None, ours: list[Result] | None) -> str:
    """The median, and behind it ours as a multiple of it."""
    if not theirs:
        return NONE
    value = typical(theirs)
    shown = f"{value / 1024:.1f} KiB" if case == "idle connection" else f"{value:,.0f}"
    if not ours or ours is theirs:
        return shown
    ratio = typical(ours) / value if value else 0
    return f"{shown} ({ratio:.2f})"


def typical(results: list[Result]) -> float:
    return median(result.cpu_us for result in results)


def late(results: list[Result] | None) -> str:
    if not results:
        return NONE
    p50, p99 = (median(getattr(r, which) or 0 for r in results) * 1000 for which in ("p50", "p99"))
    return f"{p50:.1f} / {p99:.1f}"


def versions(names: list[str]) -> str:
    found = [f"trio-lb {version('trio-lb')} on CPython {sys.version.split()[0]}, trio {version('trio')}"]
    for name in names:
        if name in VERSIONS:
            done = subprocess.run(VERSIONS[name], capture_output=True, text=True, check=False)
            number = NUMBER.search(done.stdout + done.stderr)
            found.append(f"{name} {number[0] if number else 'of unknown version'}")
    return "; ".join(found)


def main() -> None:
    options = arguments()
    if options.before is not None:
        PROGRAMS["before"] = before(options.before.resolve())
        options.programs += ",before"
    results = measure(options)
    missing = [name for name in PROGRAMS if name not in options.programs.split(",")]
    text = table(results, options) + f"\n{versions(options.programs.split(','))}.\n"
    if missing:
        text += f"Not measured: {', '.join(missing)}.\n"
    sys.stdout.write(text)
    if options.write:
        above, rest = README.read_text().split(BEGIN)
        README.write_text(above + BEGIN + text + END + rest.split(END)[1])


main()
