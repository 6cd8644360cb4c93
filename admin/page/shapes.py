"""The shapes of bars and lines on the page, as attributes of SVG; `script/shapes.js` makes the same."""

from collections.abc import Sequence

from admin.page.wording import fixed
from admin.views.request_json import AttemptView
from admin.views.stats_json import BackendStats
from lb.core.measures.rates import Codes

WIDTH, HEIGHT = 100, 30
POINTS = 60
CHECKS = 30

Bar = tuple[str, str, str]
"""The class of one part of a bar, where it begins, and how wide it is."""


def part(value: float, whole: float | None) -> str:
    """The width of a bar that shows this part of the whole."""
    return f"{min(100.0, 100 * value / whole):.4g}%" if whole else "0%"


def ticks(checks: str, kind: str) -> str:
    """The path of the checks of one kind: a low stroke for each that passed, a high one for the others."""
    stroke = "9v3" if kind == "." else "0v12"
    offset = CHECKS - len(checks)
    return "".join(f"M{2 * (offset + at)}.5 {stroke}" for at, each in enumerate(checks) if each == kind)


def drained(backend: BackendStats) -> str:
    """The width of the bar for the requests that have ended since the drain began."""
    drain = backend.drain
    if drain is None or not drain.started_with:
        return "100%" if drain else "0%"
    return part(drain.started_with - drain.remaining, drain.started_with)


def stack(codes: Codes) -> Sequence[Bar]:
    """The bar of answers by the class of their status."""
    counts = {"c2": codes.ok, "c3": codes.redirected, "c4": codes.refused, "c5": codes.broken + codes.failed}
    whole, before, bars = sum(counts.values()), 0, []
    for name, count in counts.items():
        bars.append((name, part(before, whole), part(count, whole)))
        before += count
    return bars


def phases(attempt: AttemptView, total: float) -> Sequence[Bar]:
    """The bar of one attempt in a waterfall; the phase that was not completed lasts to the end."""
    ends = [
        ("connect", attempt.connected_ms),
        ("wait", attempt.first_byte_ms),
        ("body", attempt.ended_ms),
    ]
    bars, at = [], attempt.started_ms
    last = attempt.ended_ms if attempt.ended_ms is not None else total
    for name, end in ends:
        until = last if end is None else end
        bars.append((name, part(at, total), part(max(0.0, until - at), total)))
        at = max(at, until)
        if end is None:
            break
    return bars


def spark(values: Sequence[float | None], top: float = 0.0) -> str:
    """The points of a line over five minutes, the newest at the right end; "" for fewer than two values.

    The line is as high as its highest value, or as `top` if that is higher. What was not measured, such as
    the latency of no request, is zero: the line falls and rises there at once.
    """
    known = [value or 0.0 for value in values]
    if len(known) < 2:
        return ""
    highest = max(top, *known) or 1
    offset = POINTS - len(known)
    return " ".join(
        f"{fixed((offset + index) * WIDTH / (POINTS - 1), 1)},"
        f"{fixed(HEIGHT - 1 - value / highest * (HEIGHT - 3), 1)}"
        for index, value in enumerate(known)
    )


def area(values: Sequence[float | None], top: float = 0.0) -> str:
    """The points of the area below that line."""
    line = spark(values, top)
    if not line:
        return ""
    first, last = line.split(" ")[0].split(",")[0], line.split(" ")[-1].split(",")[0]
    return f"{first},{HEIGHT} {line} {last},{HEIGHT}"
