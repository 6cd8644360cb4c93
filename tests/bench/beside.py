"""Beside the peers: every row of every program in interleaved rounds, and the tables of their medians."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.bench.cases import CASES, COUNTS, Case
from tests.bench.loads import Result, Trouble
from tests.bench.programs import OF_OURS, OURS, PROGRAMS, can
from tests.bench.setting import PLAIN, Setting
from tests.bench.stage import Role, Stage, by_setting, tell

NONE = "-"
WITH_LATENCY = ("256 connections", "one connection")
BRACKETS = """\
In round brackets ours as a multiple of theirs; in square ones ours as a multiple of the same with three
backends, without routes or without a log. All workers are on one core here. "4 workers" have 32 connections
each, as have the four balancers of one process, on one core too, with which they are compared; those "at 32
connections" are compared with one that is alone.
"""


@dataclass
class Results:
    """What was measured of each row and role, round by round, and what could not be."""

    found: dict[tuple[str, Role], list[Result]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, None] = field(default_factory=dict)

    def of(self, case: str, name: str, setting: Setting | None = None) -> list[Result]:
        """A row of a program; with another setting than the row's, its base."""
        return self.found.get((case, (name, setting or CASES[case].setting)), [])


def roles(setting: Setting, cases: Mapping[str, Case], names: Sequence[str]) -> list[Role]:
    """Who runs on a stage: everybody who can, and of ours also what the rows are compared with."""
    bases = [case.base for case in cases.values() if case.base is not None]
    compared = [(name, base) for name in names if name in OF_OURS for base in bases]
    return list(dict.fromkeys([*((name, setting) for name in names if can(name, setting)), *compared]))


def measure(cases: Sequence[str], names: Sequence[str], rounds: int, seconds: float) -> Results:
    results = Results()
    for setting, rows in by_setting({name: CASES[name] for name in cases}).items():
        with Stage(roles(setting, rows, names), PROGRAMS) as stage:
            results.failed |= dict.fromkeys(stage.failed)
            for round in range(rounds):
                for name, case in rows.items():
                    if not (case.is_memory and round):
                        _measure_row(results, stage, name, case, seconds)
    return results


def _measure_row(results: Results, stage: Stage, name: str, case: Case, seconds: float) -> None:
    for role in stage.targets:
        program, setting = role
        if program in case.not_for or setting not in (case.setting, case.base):
            continue
        try:
            result = stage.measure(role, case.load, seconds)
        except Trouble as exc:
            results.failed[f"{name}: {program}"] = None
            tell(f"{name}: {program}: {exc}")
        else:
            results.found[name, role].append(result)
            tell(f"{name}: {program}{'' if setting == case.setting else ', its base'} {result.cost:.1f}")


def table(results: Results, cases: Sequence[str], names: Sequence[str]) -> str:
    """A column for each program and a row for each case that they share, then their latencies."""
    shared = [case for case in cases if CASES[case].setting.policy == PLAIN.policy]
    if not shared:
        return ""
    names = [name for name in PROGRAMS if name in names]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for case in shared:
        lines.append(f"| {case} | " + " | ".join(cell(results, case, name) for name in names) + " |")
    for case in WITH_LATENCY:
        if case in cases:
            cells = [late(results.of(case, name)) for name in names]
            lines.append(f"| {case}: p50 / p99 in ms | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(results: Results, case: str, name: str) -> str:
    """The median, and behind it how ours compares."""
    values = results.of(case, name)
    if not values:
        return NONE
    value = typical(values)
    shown = f"{value / 1024:.1f} KiB" if CASES[case].is_memory else f"{value:,.0f}"
    if name in OF_OURS:
        return shown + against_base(results, case, name)
    ours = results.of(case, OURS)
    return f"{shown} ({typical(ours) / value:.2f})" if ours and value else shown


def against_base(results: Results, case: str, name: str) -> str:
    base = CASES[case].base
    if base is None:
        return ""
    pairs = zip(results.of(case, name), results.of(case, name, base), strict=False)
    ratios = [value.cost / before.cost for value, before in pairs]
    return f" [{median(ratios):.2f}]" if ratios else ""


def policy_table(results: Results, cases: Sequence[str], names: Sequence[str]) -> str:
    """A row for each policy of ours, by the number of backends; empty where only round robin was measured."""
    many = [case for case in cases if CASES[case].setting.backends > PLAIN.backends]
    policies = list(dict.fromkeys(CASES[case].setting.policy for case in many))
    if policies in ([], [PLAIN.policy]):
        return ""
    lines = ["| backends | 3 | " + " | ".join(map(str, COUNTS)) + " |", "|---" * (len(COUNTS) + 2) + "|"]
    for name in (name for name in OF_OURS if name in names):
        for policy in policies:
            row = [case for case in many if CASES[case].setting.policy == policy]
            by_count = {CASES[case].setting.backends: cell(results, case, name) for case in row}
            base = [value for case in row for value in results.of(case, name, CASES[case].base)]
            cells = [f"{typical(base):,.0f}" if base else NONE]
            cells += [by_count.get(count, NONE) for count in COUNTS]
            lines.append(f"| {policy}{'' if name == OURS else ', compiled'} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def typical(results: Sequence[Result]) -> float:
    return median(result.cost for result in results)


def late(results: Sequence[Result]) -> str:
    if not results:
        return NONE
    p50, p99 = (median(getattr(r, which) or 0 for r in results) * 1000 for which in ("p50", "p99"))
    return f"{p50:.1f} / {p99:.1f}"
