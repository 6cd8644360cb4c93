"""How numbers and states are written on the page; `page.js` writes them the same way."""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import quote

from admin.views.request_json import AttemptView, RequestView
from admin.views.stats_json import BackendStats, PoolStats, Stats
from lb.core.measures.rates import Codes

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
KINDS = {
    **TONES,
    "up": "ok",
    "admitted": "ok",
    "added": "ok",
    "calm": "ok",
    "panic": "bad",
    "policy failed": "bad",
    "reloaded": "ok",
    "not reloaded": "bad",
    "removed": "off",
}
"""The same of what happens."""
ENOUGH = 20
"""Requests in ten seconds: of fewer, one that fails is no news for the title."""
WIDTH, HEIGHT = 100, 30


CHECKS = 30


class Entry(NamedTuple):
    """One line of the event log: when, in which tone, of whom, what."""

    at: str
    tone: str
    who: str
    what: str


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


def entry(event: Mapping[str, Any]) -> Entry:
    """What the log says of one event of /events."""
    pool = f"pool {event['pool']}" if "pool" in event else "balancer"
    kind, detail = event["kind"], event.get("detail", "")
    if kind == "drained":
        detail = f"in {took(event['duration_seconds'])}, {event['aborted']} cut"
    elif "started_with" in event:
        detail = f"{event['remaining']} in flight"
    what = f"{kind} · {detail}" if detail else kind
    return Entry(event["at"], KINDS.get(kind, ""), event.get("backend", pool), what)


def fixed(value: float, digits: int) -> str:
    """So many digits; a half goes up, as in JavaScript's toFixed, while Python's own format goes to even."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def rate(value: float | None) -> str:
    """A count or a rate, with as many digits as somebody can read at a glance."""
    if value is None:
        return NOTHING
    if value >= 1e6:
        return f"{fixed(value / 1e6, 1)}M"
    if value >= 1e4:
        return f"{fixed(value / 1e3, 1)}k"
    return fixed(value, 0 if value >= 100 or value == int(value) else 1)


def percent(share: float | None) -> str:
    if share is None:
        return NOTHING
    return f"{fixed(share * 100, 1 if 0 < share < 0.0995 else 0)}%"


def took(seconds: float | None) -> str:
    """A latency."""
    if seconds is None or not isfinite(seconds):
        return NOTHING
    if seconds >= 9.95:
        return f"{fixed(seconds, 0)} s"
    if seconds >= 0.9995:
        return f"{fixed(seconds, 1)} s"
    return f"{fixed(seconds * 1000, 0 if seconds >= 0.00995 else 1)} ms"


def span(seconds: float | None) -> str:
    """A longer time: an uptime, what is left of a drain."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}:{rest:02}"


def ago(seconds: float) -> str:
    """How long something has been so, in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def beside(backend: BackendStats) -> str:
    """What stands beside its state: of a drain what is left, of an ill one for how long."""
    if backend.drain and backend.state == "draining":
        return f"{backend.drain.remaining} left {span(backend.drain.deadline_seconds)}"
    return "" if TONES.get(backend.state) == "ok" else ago(backend.state_seconds)


def where(backend: BackendStats) -> str:
    """Its address, and what its labels say."""
    labels = [f"{name}={value}" for name, value in backend.labels.items()]
    return " · ".join([backend.url.removeprefix("http://"), *labels])


def checked(checks: str) -> str:
    """The same of all of them, in words."""
    return f"{checks.count('.')} of the last {len(checks)} checks passed" if checks else ""


def named(source: str) -> str:
    """The configuration without the folders that it is in."""
    return source.rpartition("/")[2]


def ticks(checks: str, kind: str) -> str:
    """The path of the checks of one kind: a low stroke for each that passed, a high one for the others."""
    stroke = "9v3" if kind == "." else "0v12"
    offset = CHECKS - len(checks)
    return "".join(f"M{2 * (offset + at)}.5 {stroke}" for at, each in enumerate(checks) if each == kind)


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
    bad = " ".join(filter(None, said))
    if bad:
        return f"{bad} of\u00a0{rate(whole)}"
    return f"{rate(whole)}\u00a0ok" if whole else NOTHING


def spark(values: Sequence[float | None], top: float = 0.0) -> str:
    """The points of a line of five minutes, the newest at the right end; nothing where it is too short."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    highest = max(top, *(value for _, value in known)) or 1
    offset = 60 - len(values)
    return " ".join(
        f"{fixed((offset + index) * WIDTH / 59, 1)},{fixed(HEIGHT - 1 - value / highest * (HEIGHT - 3), 1)}"
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
    if not pool.available:
        return "bad" if pool.backends else "off"
    return "warn" if pool.available < pool.backends or pool.panicking else "ok"


def tone_of_5xx(share: float) -> str:
    return "bad" if share >= MUCH_5XX else "warn" if share >= SOME_5XX else "ok"


def manned(pool: PoolStats) -> str:
    """How many of its backends take requests, and what it means if none does."""
    if not pool.available:
        return "nobody is available: clients get 503" if pool.backends else "no backends"
    return f"{pool.available} of {pool.backends} available"


def kind(request: RequestView) -> str:
    """What is equal for failures alike, as `lb.observe.recorder` counts them."""
    backend = request.attempts[-1].backend if request.attempts else ""
    return f"{request.pool or ''} {backend} {request.status} {request.error or ''}"


def alike(request: RequestView) -> str:
    """How many others ended like this one."""
    if not request.alike or request.alike == 1:
        return ""
    return f"{rate(request.alike)} like this since {clock(str(request.alike_since))}"


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
        beside,
        where,
        named,
        ticks,
        checked,
        clock,
        tone_of_pool,
        tone_of_5xx,
        manned,
        kind,
        alike,
        path_part,
    )
}
