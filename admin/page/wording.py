"""How the page writes numbers, times and states; `script/wording.js` writes them the same way."""

from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from urllib.parse import quote

from admin.page.tones import TONES
from admin.views.request_json import RequestView
from admin.views.stats_json import BackendStats, PoolStats
from lb.core.measures.rates import Codes

NOTHING = "–"  # noqa: RUF001


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
    if backend.drain and backend.state == "draining":
        return f"{backend.drain.remaining} left {span(backend.drain.deadline_seconds)}"
    return "" if TONES.get(backend.state) == "ok" else ago(backend.state_seconds)


def where(backend: BackendStats) -> str:
    """The address and the labels of a backend."""
    labels = [f"{name}={value}" for name, value in backend.labels.items()]
    return " · ".join([backend.url.removeprefix("http://"), *labels])


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
    """The answers that were no success, of how many."""
    broken = codes.broken + codes.failed
    said = [f"{rate(broken)}\u00a0×\u00a05xx" if broken else ""]  # noqa: RUF001
    said.append(f"{rate(codes.refused)}\u00a0×\u00a04xx" if codes.refused else "")  # noqa: RUF001
    whole = codes.ok + codes.redirected + codes.refused + broken
    bad = " ".join(filter(None, said))
    if bad:
        return f"{bad} of\u00a0{rate(whole)}"
    return f"{rate(whole)}\u00a0ok" if whole else NOTHING


def manned(pool: PoolStats) -> str:
    """How many backends of a pool take requests, and what clients get if none does."""
    if not pool.available:
        return "nobody is available: clients get 503" if pool.backends else "no backends"
    return f"{pool.available} of {pool.backends} available"


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
