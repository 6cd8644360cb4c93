"""How the page writes numbers, times and states; `script/wording.js` writes them the same way."""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from urllib.parse import quote

import msgspec

from admin.page.tones import TONES, WORKER_TONES
from admin.views.request_json import AttemptView, RequestView
from admin.views.stats_json import BackendStats, PoolStats
from admin.views.worker_json import WorkerStats
from lb.core.measures.histogram import LONGEST_TOLD
from lb.core.measures.rates import Codes
from lb.settings.discover_settings import OF_OTHERS

NOTHING = "–"  # noqa: RUF001
LONGEST_NAME = 28


def fixed(value: float, digits: int) -> str:
    """So many digits; a half is rounded up, as JavaScript's toFixed does, while format() rounds to even."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def rate(value: float | None) -> str:
    """A count or a rate, with few digits."""
    if value is None:
        return NOTHING
    if value >= 1e6:
        return f"{fixed(value / 1e6, 1)}M"
    if value >= 1e4:
        return f"{fixed(value / 1e3, 1)}k"
    return fixed(value, 0 if value >= 100 or value == int(value) else 1)


def percent(share: float | None) -> str:
    """A share between 0 and 1."""
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


def quantile(seconds: float | None) -> str:
    """A quantile of latencies; all that is known of one above the last bucket is that it is above."""
    is_beyond = seconds is not None and seconds >= LONGEST_TOLD
    return f">{LONGEST_TOLD:.0f} s" if is_beyond else took(seconds)


def beside_p50(p99: float | None) -> str:
    """What stands beside the median of the latency; a line may only end between its two parts."""
    return f"p50 · p99 {quantile(p99)}".replace(" ", "\u00a0").replace("·\u00a0", "· ")


def span(seconds: float | None) -> str:
    """A longer time, such as an uptime or the time left of a drain."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}:{rest:02}"


def ago(seconds: float) -> str:
    """How long a state has lasted, in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def clock(timestamp: str) -> str:
    """The time of day of an RFC 3339 timestamp."""
    return timestamp[11:19]


def beside(backend: BackendStats) -> str:
    """The text beside the state: what is left of a drain, or how long a state that is not ok has lasted."""
    if backend.drain and backend.state in ("draining", "leaving"):
        return f"{backend.drain.remaining} left {span(backend.drain.deadline_seconds)}"
    return "" if TONES.get(backend.state) == "ok" else ago(backend.state_seconds)


def where(backend: BackendStats) -> str:
    """The address and the labels of a backend."""
    labels = [f"{name}={value}" for name, value in backend.labels.items()]
    return " · ".join([backend.url.removeprefix("http://"), *labels])


def found(backend: BackendStats) -> str:
    """The source that has found it, and how long that has not named it; "" where it was not found."""
    if backend.source in OF_OTHERS:
        return ""
    missing = backend.missing_seconds
    return backend.source if missing is None else f"{backend.source} · missing {ago(missing)}"


def held(pool: PoolStats) -> str:
    """How many backends stay although their source does not want them."""
    return f"{pool.held} held: their source does not name them" if pool.held else ""


def silent(pool: PoolStats) -> str:
    """The sources that do not say what there is."""
    return f"no word from {', '.join(pool.failing)}" if pool.failing else ""


def plainly(backend: BackendStats) -> str:
    """Why it is not available, without its id and its address, which the row shows already."""
    return backend.why.removeprefix(f"{backend.id} at {backend.url}: ")


def checked(checks: str) -> str:
    """How many of the last checks passed."""
    return f"{checks.count('.')} of the last {len(checks)} checks passed" if checks else ""


def named(source: str) -> str:
    """The configuration file without its folders."""
    return source.rpartition("/")[2]


def mistakes(codes: Codes) -> str:
    """The answers that were no success, of how many.

    Of a backend `failed` are attempts without a whole answer; most of them are tried again, and no client
    sees them.
    """
    kinds = ((codes.broken, "5xx"), (codes.failed, "failed"), (codes.refused, "4xx"))
    bad = " ".join(f"{rate(count)}\u00a0×\u00a0{kind}" for count, kind in kinds if count)  # noqa: RUF001
    whole = codes.ok + codes.redirected + sum(count for count, _ in kinds)
    if bad:
        return f"{bad} of\u00a0{rate(whole)}"
    return f"{rate(whole)}\u00a0ok" if whole else NOTHING


def client_mistakes(codes: Codes) -> str:
    """Of a pool only what its clients got is told: a failed request has a status of ours."""
    return mistakes(msgspec.structs.replace(codes, failed=0))


def middle(text: str, most: int = LONGEST_NAME) -> str:
    """A name that is too long for its place, cut where names are most often alike."""
    return text if len(text) <= most else f"{text[: (most + 1) // 2 - 1]}…{text[-(most // 2) :]}"


def came_of(attempt: AttemptView, request: RequestView, is_last: bool) -> str:
    """What came of an attempt, and how long it took."""
    answered = str(request.status) if is_last and not request.error else "ok"
    word = attempt.error or ("beaten" if attempt.is_beaten else answered)
    if attempt.ended_ms is None:
        return word
    return f"{word} · {took((attempt.ended_ms - attempt.started_ms) / 1000)}"


def least(values: Sequence[int]) -> str:
    """The least of a line."""
    return f"least {rate(min(values))}" if values else ""


def peak_of(values: Sequence[float | None], what: str) -> str:
    """The most of a line, which is as high as that."""
    return f"peak {PEAKS[what](max(each or 0.0 for each in values))}" if values else ""


def manned(pool: PoolStats) -> str:
    """How many backends of a pool take requests, and what clients get if none does."""
    if not pool.available:
        return "nobody is available: clients get 503" if pool.backends else "no backends"
    return f"{pool.available} of {pool.backends} available"


def of_worker(worker: WorkerStats) -> str:
    """How a worker is, in one line."""
    state = worker.state
    said = [state if WORKER_TONES[state] == "ok" else f"{state} for {ago(worker.state_seconds)}"]
    said.append(f"{rate(worker.requests_per_second)} req/s")
    said.append(f"{rate(worker.connections)} connections")
    if worker.loop_lag_p99_seconds is not None:
        said.append(f"late p99 {quantile(worker.loop_lag_p99_seconds)}")
    if worker.memory_bytes is not None:
        said.append(f"{fixed(worker.memory_bytes / 1e6, 0)} MB")
    if worker.restarts:
        said.append(f"restarted {worker.restarts}\u00a0×")  # noqa: RUF001
    return " · ".join(said)


def kind(request: RequestView) -> str:
    """The same text for failures of the same kind, as `lb.observe.recorder` counts them."""
    backend = request.attempts[-1].backend if request.attempts else ""
    return f"{request.pool or ''} {backend} {request.status} {request.error or ''}"


def alike(request: RequestView) -> str:
    """How many failures of its kind there were; "" for the only one."""
    if not request.alike or request.alike == 1:
        return ""
    return f"{rate(request.alike)} like this since {clock(str(request.alike_since))}"


def path_part(text: str) -> str:
    """The text as one step of a path."""
    return quote(text, safe="")


PEAKS: Mapping[str, Callable[[float], str]] = {
    "rate": lambda value: f"{rate(value)}/s",
    "percent": percent,
    "p99": lambda value: f"p99 {quantile(value)}",
    "count": rate,
}
"""How the values of each line are written."""
