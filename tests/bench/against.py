"""Beside another commit: ours alone, as it is here and as it is there, and a verdict for each row.

A machine that others use is never quiet for the seconds that a row takes, so a row is many pairs of short
slices, here and there in an order by chance, and of the pairs the cheaper half counts: noise only ever adds.
Both sides are started anew several times, since the same program is a percent dearer or cheaper from one
start to the next, by where its memory happens to be. Chosen by measuring a commit against itself on a machine
busy with other work, where short slices came out nearer to 1 than rounds of two seconds.
"""

import random
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.cases import CASES, Case
from tests.bench.checkout import ROOT, checkout, program_in, set_up
from tests.bench.loads import Trouble
from tests.bench.processes import put_first
from tests.bench.programs import lb_by
from tests.bench.setting import Setting
from tests.bench.stage import Stage, by_setting, tell
from tests.bench.verdicts import CONFIDENCE, TOLERANCE, Pair, Ratio, Verdict, ratio_of, ratio_of_steady

HERE, THERE = "here", "there"
STARTS = 4
Pairs = dict[str, list[Pair]]
"""Of each row the costs here and there."""
Ratios = Mapping[str, tuple[Sequence[Pair], Ratio]]


def compare(what: str, cases: Sequence[str], rounds: int, seconds: float) -> int:
    """Measure, print the table, and answer the exit status: 1 if a row is slower here beyond doubt."""
    with ExitStack() as stack:
        folder = Path(what)
        there = program_in(folder) if folder.is_dir() else set_up(stack.enter_context(checkout(what)))
        pairs = measure({HERE: program_in(ROOT), THERE: there}, cases, rounds, seconds)
    ratios = {
        case: (of_case, ratio_of_steady(of_case) if CASES[case].is_memory else ratio_of(of_case))
        for case, of_case in pairs.items()
    }
    sys.stdout.write(table(what, ratios, [case for case in cases if case not in pairs]))
    return int(any(ratio.verdict == Verdict.SLOWER for _, ratio in ratios.values()))


def measure(sides: Mapping[str, Path], cases: Sequence[str], rounds: int, seconds: float) -> Pairs:
    pairs: Pairs = defaultdict(list)
    programs = {name: lb_by(path) for name, path in sides.items()}
    starts = min(STARTS, rounds)
    for setting, rows in by_setting({name: CASES[name] for name in cases}).items():
        for start in range(starts):
            order = [HERE, THERE] if start % 2 else [THERE, HERE]
            share = len(range(start, rounds, starts))
            with Stage([(name, setting) for name in order], programs) as stage:
                if len(stage.targets) == len(sides):
                    measure_start(stage, setting, rows, share, seconds, pairs)
    return pairs


def measure_start(
    stage: Stage, setting: Setting, rows: Mapping[str, Case], rounds: int, seconds: float, pairs: Pairs
) -> None:
    for target in stage.targets.values():
        put_first(target.pid)
    for round in range(rounds):
        for name, case in rows.items():
            if case.is_memory and round:
                continue
            costs = {}
            try:
                for side in random.sample((HERE, THERE), 2):
                    costs[side] = stage.measure((side, setting), case.load, seconds).cost
            except Trouble as exc:
                tell(f"{name}: {exc}")
            else:
                pairs[name].append((costs[HERE], costs[THERE]))
                tell(f"{name}: {costs[HERE]:.1f} {costs[THERE]:.1f}")


def table(what: str, ratios: Ratios, missing: Sequence[str]) -> str:
    lines = [f"| | {what} | here | ratio | quartiles | {CONFIDENCE:.0%} sure | |", "|---" * 7 + "|"]
    for name, (pairs, ratio) in ratios.items():
        here, there = (min(costs) for costs in zip(*pairs, strict=True))
        low, high = ratio.quartiles
        least, most = ratio.bounds
        lines.append(
            f"| {name} | {there:,.1f} | {here:,.1f} | {ratio.middle:.3f} | {low:.3f} to {high:.3f}"
            f" | {least:.3f} to {most:.3f} | {ratio.verdict.value} |"
        )
    lines.append(f"\nCosts are the least of all slices; a ratio is here / there. {words(ratios)}")
    if missing:
        lines.append(f"Not measured: {', '.join(missing)}.")
    return "\n".join(lines) + "\n"


def words(ratios: Ratios) -> str:
    """Which rows are outside the tolerance, in a sentence."""
    beyond = [
        f"{name} is {verdict.value}"
        for verdict in (Verdict.SLOWER, Verdict.FASTER)
        for name, (_, ratio) in ratios.items()
        if ratio.verdict == verdict
    ]
    said = f"Beyond ±{TOLERANCE:.0%} and noise: {', '.join(beyond) or 'none'}."
    undecided = [name for name, (_, ratio) in ratios.items() if ratio.verdict == Verdict.UNDECIDED]
    return said + (f" More rounds would tell of: {', '.join(undecided)}." if undecided else "")
