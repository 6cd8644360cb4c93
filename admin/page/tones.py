"""In which of five tones the page shows states and events; `script/tones.js` says the same."""

from admin.views.stats_json import PoolStats, TotalStats
from admin.views.worker_json import WorkerStats

TONES = {
    "ready": "ok",
    "warming": "ok",
    "checking": "warn",
    "down": "bad",
    "ejected": "bad",
    "trial": "warn",
    "not_ready": "warn",
    "leaving": "drain",
    "draining": "drain",
    "drained": "off",
    "maintenance": "off",
}
"""The tone of each state of a backend; the word stands beside it."""
EVENT_TONES = {
    **TONES,
    "up": "ok",
    "admitted": "ok",
    "added": "ok",
    "calm": "ok",
    "panic": "bad",
    "policy failed": "bad",
    "missing": "warn",
    "found": "ok",
    "stale": "bad",
    "fresh": "ok",
    "held": "bad",
    "followed": "ok",
    "reloaded": "ok",
    "not reloaded": "bad",
    "upgraded": "ok",
    "not upgraded": "bad",
    "removed": "off",
    "serving": "ok",
    "answering": "ok",
    "silent": "bad",
    "ended": "bad",
    "swapped": "ok",
    "refused": "bad",
    "expiring": "warn",
    "critical": "bad",
    "expired": "bad",
    "certificate renewed": "ok",
    "renewal failed": "bad",
    "trouble": "bad",
    "trouble over": "ok",
}
"""The tone of each kind of event; others have none."""
WORKER_TONES = {"starting": "warn", "serving": "ok", "silent": "bad", "stopping": "off", "ended": "bad"}
"""The tone of each state of a worker."""
MUCH_5XX, SOME_5XX = 0.05, 0.01


def tone_of_pool(pool: PoolStats) -> str:
    """The tone of the pool's badge."""
    if not pool.available:
        return "bad" if pool.backends else "off"
    return "warn" if pool.available < pool.backends or pool.panicking else "ok"


def tone_of_available(totals: TotalStats) -> str:
    """The tone of how many take requests; where none does, every client gets 503."""
    if not totals.available:
        return "bad"
    return "ok" if totals.available == totals.backends else "warn"


def tone_of_5xx(share: float) -> str:
    """The tone of this share of answers."""
    return "bad" if share >= MUCH_5XX else "warn" if share >= SOME_5XX else "ok"


def tone_of_worker(worker: WorkerStats) -> str:
    """The tone of a worker's row."""
    return WORKER_TONES[worker.state]
