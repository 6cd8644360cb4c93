"""How numbers and states are written on the page; `page.js` writes them the same way."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import quote

from admin.requests import AttemptView
from admin.stats import BackendStats, PoolStats, Stats
from lb.core.trend import Codes

NOTHING = "–"  # noqa: RUF001
TONES = {
    "ready": "ok",
    "warming": "ok",
    "checking": "warn",
    "down": "bad",
    "ejected": "bad",
    "trial": "warn",
    "draining": "drain",
    "drained": "off",
    "maintenance": "off",
}
"""Which of five tones each state is shown in, beside its word."""
MUCH_5XX, SOME_5XX = 0.05, 0.01
ENOUGH = 20
"""Requests in ten seconds: of fewer, one that fails is no news for the title."""
WIDTH, HEIGHT = 100, 30


class Condition(NamedTuple):
    """How the whole is doing: its tone, and a few words for the title."""

    tone: str
    says: str


UNKNOWN = Condition("ok", "")


def health(stats: Stats) -> Condition:
    """What somebody who sees only the tab should know."""
    empty = [pool.name for pool in stats.pools if pool.backends and not pool.available]
    unfit = [each for each in stats.backends if TONES.get(each.state) == "bad"]
    if empty:
        return Condition("bad", f"✗ {empty[0]} has nobody")
    if unfit:
        return Condition("warn", f"✗ {len(unfit)} down")
    if stats.draining or stats.stopping:
        return Condition("warn", "◌ leaving")
    rates = stats.totals.rates
    if rates.share_5xx >= MUCH_5XX and rates.ended >= ENOUGH:
        return Condition("warn", f"! {percent(rates.share_5xx)} 5xx")
    return Condition("ok", "✓")


def rate(value: float | None) -> str:
    """A count or a rate, with as many digits as somebody can read at a glance."""
    if value is None:
        return NOTHING
    if value >= 1e6:
        return f"{value / 1e6:.1f}M"
    if value >= 1e4:
        return f"{value / 1e3:.1f}k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def percent(share: float | None) -> str:
    if share is None:
        return NOTHING
    return f"{share * 100:.1f}%" if 0 < share < 0.0995 else f"{share * 100:.0f}%"


def took(seconds: float | None) -> str:
    """A latency."""
    if seconds is None or not isfinite(seconds):
        return NOTHING
    if seconds >= 9.95:
        return f"{seconds:.0f} s"
    if seconds >= 0.9995:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.00995 else f"{seconds * 1000:.1f} ms"


def span(seconds: float | None) -> str:
    """A longer time: an uptime, what is left of a drain."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}:{rest:02}"


def part(value: float, whole: float | None) -> str:
    """The width of a bar."""
    return f"{min(100.0, 100 * value / whole):.4g}%" if whole else "0%"


def stack(codes: Codes) -> Sequence[tuple[str, str, str]]:
    """The bar of answers: class, where it begins, how wide it is."""
    counts = {"c2": codes.ok, "c3": codes.redirected, "c4": codes.refused, "c5": codes.broken + codes.failed}
    whole, before, bars = sum(counts.values()), 0, []
    for name, count in counts.items():
        bars.append((name, part(before, whole), part(count, whole)))
        before += count
    return bars


def mistakes(codes: Codes) -> str:
    """What of it was no success, in words."""
    broken = codes.broken + codes.failed
    said = [f"{rate(broken)}\u00a0×\u00a05xx" if broken else ""]  # noqa: RUF001
    said.append(f"{rate(codes.refused)}\u00a0×\u00a04xx" if codes.refused else "")  # noqa: RUF001
    whole = codes.ok + codes.redirected + codes.refused + broken
    return " ".join(filter(None, said)) or (f"{rate(whole)}\u00a0ok" if whole else NOTHING)


def spark(values: Sequence[float | None], top: float = 0.0) -> str:
    """The points of a line of five minutes, the newest at the right end; nothing where it is too short."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    highest = max(top, *(value for _, value in known)) or 1
    offset = 60 - len(values)
    return " ".join(
        f"{(offset + index) * WIDTH / 59:.1f},{HEIGHT - 1 - value / highest * (HEIGHT - 3):.1f}"
        for index, value in known
    )


def area(values: Sequence[float | None], top: float = 0.0) -> str:
    """What lies under that line."""
    line = spark(values, top)
    if not line:
        return ""
    first, last = line.split(" ")[0].split(",")[0], line.split(" ")[-1].split(",")[0]
    return f"{first},{HEIGHT} {line} {last},{HEIGHT}"


def drained(backend: BackendStats) -> str:
    """The width of what has left already."""
    drain = backend.drain
    if drain is None or not drain.started_with:
        return "100%" if drain else "0%"
    return part(drain.started_with - drain.remaining, drain.started_with)


def phases(attempt: AttemptView, total: float) -> Sequence[tuple[str, str, str]]:
    """The bars of one attempt in a waterfall: which phase, where it begins, how wide it is."""
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


def plainly(backend: BackendStats) -> str:
    """Why it is not available, without the name and the address that stand beside it."""
    return backend.why.removeprefix(f"{backend.id} at {backend.url}: ")


def clock(timestamp: str) -> str:
    """The time of day of an RFC 3339 timestamp."""
    return timestamp[11:19]


def tone_of_pool(pool: PoolStats) -> str:
    if pool.backends and not pool.available:
        return "bad"
    return "warn" if pool.available < pool.backends or pool.panicking else "ok"


def tone_of_5xx(share: float) -> str:
    return "bad" if share >= MUCH_5XX else "warn" if share >= SOME_5XX else "ok"


def path_part(id: str) -> str:
    return quote(id, safe="")


FILTERS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        rate,
        percent,
        took,
        span,
        part,
        stack,
        mistakes,
        spark,
        area,
        drained,
        phases,
        plainly,
        clock,
        tone_of_pool,
        tone_of_5xx,
        path_part,
    )
}
