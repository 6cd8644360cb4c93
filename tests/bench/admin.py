"""`just bench-admin`: what traffic at half load notices of those who watch. Interleaved rounds, medians.

python -m tests.bench.admin [--rounds 5] [--seconds 8] [--readers 100] [--backends 3,500] [--no-off]

Of one balancer on a core of its own the latency is measured three times a round, by a load of constant rate:
*off*, with no operator's side at all; *alone*, with one that nobody reads; *watched*, with 100 readers of
`/events`, one of whom never reads, and `/metrics` read each second. Compare the columns of one row, and
their ratio; the milliseconds are those of the machine.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median

from tests.bench.backend import backends
from tests.bench.processes import LOAD_CORE, PROGRAM_CORE, free_port, pinned, started

HERE = Path(__file__).parent
OFF, ALONE, WATCHED = "off", "alone", "watched"
SHARES = ("p50", "p99", "p99.9")
RATE = re.compile(r"Requests/sec: +([\d.]+)")
LOAD_CONNECTIONS = 32
WARM_SECONDS = 1.0
OPEN_FILES = 20_000

Late = dict[str, float]
Results = dict[tuple[int, str], list[Late]]
"""By number of backends and column."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-admin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--backends", default="3,500", help="how many, a row for each")
    parser.add_argument("--rate", type=float, help="requests a second; half of the capacity unless set")
    parser.add_argument(
        "--no-off", action="store_true", help="leave out the column without an operator's side"
    )
    return parser.parse_args()


def on_load_core(*command: str) -> list[str]:
    return pinned(LOAD_CORE, list(command))


@contextmanager
def balancer(root: Path, count: int, backend_port: int, with_admin: bool) -> Iterator[tuple[int, int]]:
    """Ours, on its core: where it listens, and its admin."""
    port, admin = free_port(), free_port()
    command = [sys.executable, "-m", "lb", "run", f"--listen=127.0.0.1:{port}", "--access-log=off"]
    command += ["--set=limits.requests_per_connection=1000000000"]  # the load stays
    command += [f"--admin=127.0.0.1:{admin}"] if with_admin else ["--set=admin.enabled=false"]
    command += [f"--backend=http://127.1.{n // 250}.{n % 250 + 1}:{backend_port}" for n in range(count)]
    with ExitStack() as stack:
        stack.enter_context(started(command, port, PROGRAM_CORE, root / "balancer.out"))
        yield port, admin


@contextmanager
def watchers(admin: int, readers: int) -> Iterator[None]:
    """They are all there when the block begins; what they have read is told at its end."""
    command = on_load_core(sys.executable, "-m", "tests.bench.watchers", str(admin), str(readers))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise RuntimeError("nobody could watch")
    yield
    says, _ = process.communicate("\n")
    sys.stderr.write(f"  they read {says}\n")
    if process.returncode:
        raise RuntimeError("the watchers failed")


def capacity(port: int) -> float:
    """Requests a second when everybody asks again at once."""
    command = on_load_core("wrk", "-t1", f"-c{LOAD_CONNECTIONS}", "-d2s", f"http://127.0.0.1:{port}/hello")
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = RATE.search(report)
    assert found is not None, report
    return float(found[1])


def built(root: Path) -> str:
    """The program that makes the load."""
    binary = str(root / "steady")
    subprocess.run(["g++", "-std=c++20", "-O2", "-o", binary, HERE / "steady.cpp"], check=True)
    return binary


def latency(steady: str, port: int, rate: float, seconds: float) -> Late:
    command = on_load_core(steady, *map(str, (port, rate, seconds)))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    late: Late = json.loads(done.stdout)
    if late["failed"]:
        raise RuntimeError(f"{late['failed']} requests failed")
    return late


def measure(options: argparse.Namespace, root: Path) -> Results:
    results: Results = defaultdict(list)
    rates: dict[int, float] = {}
    steady = built(root)
    counts = [int(count) for count in options.backends.split(",")]
    with backends(root) as ports:
        for round in range(options.rounds):
            for count in counts:
                for with_admin in (True,) if options.no_off else (False, True):
                    with balancer(root, count, ports[0], with_admin) as (port, admin):
                        if count not in rates:
                            capacity(port)  # it is slower while connections to backends are still being made
                            rates[count] = options.rate or capacity(port) / 2
                            sys.stderr.write(f"{count} backends: half load is {rates[count]:.0f} a second\n")
                        latency(steady, port, rates[count], WARM_SECONDS)
                        for column in (ALONE, WATCHED) if with_admin else (OFF,):
                            with watchers(admin, options.readers) if column == WATCHED else nullcontext():
                                late = latency(steady, port, rates[count], options.seconds)
                            results[count, column].append(late)
                            told = " ".join(
                                f"{share} {late[share] * 1000:.2f}" for share in (*SHARES, "worst")
                            )
                            sys.stderr.write(f"{round + 1}/{options.rounds} {count} {column}: {told} ms\n")
    return results


def table(results: Results, columns: list[str]) -> str:
    """Milliseconds, and watched as a multiple of alone: the median of the rounds' ratios."""
    lines = ["| backends | | " + " | ".join(columns) + " | watched / alone |"]
    lines.append("|---" * (len(columns) + 3) + "|")
    for count in dict.fromkeys(count for count, _ in results):
        for share in SHARES:
            cells = [f"{median(late[share] for late in results[count, c]) * 1000:.2f}" for c in columns]
            pairs = zip(results[count, WATCHED], results[count, ALONE], strict=True)
            ratio = median(watched[share] / alone[share] for watched, alone in pairs)
            lines.append(f"| {count} | {share} | " + " | ".join(cells) + f" | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, Path(folder))
    columns = [column for column in (OFF, ALONE, WATCHED) if not (column == OFF and options.no_off)]
    sys.stdout.write(table(results, columns))


if __name__ == "__main__":
    main()
