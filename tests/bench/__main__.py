"""`just bench`: CPU for each request beside the peers, or beside another commit of this project.

Without `--against` it prints tables, medians of interleaved rounds; `--write` puts them into the README.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tests.bench.against import compare
from tests.bench.beside import BRACKETS, Results, measure, policy_table, table
from tests.bench.cases import CASES
from tests.bench.checkout import NoSuchCommit
from tests.bench.processes import allow_many_files
from tests.bench.programs import PROGRAMS, installed, versions

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"
MISUSED = 2
TERMINATED = 128 + signal.SIGTERM
ROUNDS, SECONDS = 5, 2.0
PAIRS, SLICE_SECONDS = 40, 0.2
HELP = """
With --against ours alone is measured, as it is here and as it is there, in pairs of short slices. A row says
by what it is dearer here (the median of the ratios), and between which bounds that is with 99 % certainty.
"SLOWER" and "faster" are rows whose bounds are both beyond 3 %, "same" those whose bounds are both within;
"undecided" are the others, for which more rounds may tell. The exit status is 1 if a row is SLOWER, 2 if
there is no such commit, else 0.
"""


def cases(text: str) -> list[str]:
    """The rows that the patterns mean, in their order."""
    patterns = text.split(",")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in CASES):
            raise argparse.ArgumentTypeError(f"no row is {pattern!r}; there are {', '.join(CASES)}")
    return [name for name in CASES if any(fnmatchcase(name, pattern) for pattern in patterns)]


def programs(text: str) -> list[str]:
    for name in text.split(","):
        if name not in PROGRAMS:
            raise argparse.ArgumentTypeError(f"no program is {name!r}; there are {', '.join(PROGRAMS)}")
    return text.split(",")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", type=cases, default=list(CASES), metavar="ROW,...", help="with * for any text")
    add("--only", type=programs, default=installed(), metavar="PROGRAM,...", help="columns of the table")
    add("--against", metavar="COMMIT", help="or a folder: another checkout, or a virtual environment")
    add("--rounds", type=int, help=f"{ROUNDS}, or {PAIRS} pairs with --against")
    add("--seconds", type=float, help=f"of each measurement: {SECONDS:g}, or {SLICE_SECONDS} with --against")
    add("--write", action="store_true", help="put the table into the README")
    return parser.parse_args(given)


def report(results: Results, cases: Sequence[str], names: Sequence[str]) -> str:
    parts = [table(results, cases, names), policy_table(results, cases, names)]
    text = "\n".join(part for part in parts if part)
    text += f"\n{BRACKETS}\n{versions(names)}.\n"
    if missing := [name for name in PROGRAMS if name not in names]:
        text += f"Not measured: {', '.join(missing)}.\n"
    if results.failed:
        text += f"Failed: {'; '.join(results.failed)}.\n"
    return text


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that what we have started ends too
    allow_many_files()
    if options.against is not None:
        rounds, seconds = options.rounds or PAIRS, options.seconds or SLICE_SECONDS
        try:
            return compare(options.against, options.cases, rounds, seconds)
        except NoSuchCommit as exc:
            sys.stderr.write(f"bench: {exc}\n")
            return MISUSED
    results = measure(options.cases, options.only, options.rounds or ROUNDS, options.seconds or SECONDS)
    text = report(results, options.cases, options.only)
    sys.stdout.write(text)
    if options.write:
        above, rest = README.read_text().split(BEGIN)
        README.write_text(above + BEGIN + text + END + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
