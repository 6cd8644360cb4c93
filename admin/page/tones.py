"""In which of five tones the page shows states and events; `script/tones.js` says the same."""

from admin.views.stats_json import PoolStats

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
"""The tone of each state of a backend; the word stands beside it."""
EVENT_TONES = {
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
"""The tone of each kind of event; others have none."""
MUCH_5XX, SOME_5XX = 0.05, 0.01


def tone_of_pool(pool: PoolStats) -> str:
    """The tone of the pool's badge."""
    if not pool.available:
        return "bad" if pool.backends else "off"
    return "warn" if pool.available < pool.backends or pool.panicking else "ok"


def tone_of_5xx(share: float) -> str:
    """The tone of this share of answers."""
    return "bad" if share >= MUCH_5XX else "warn" if share >= SOME_5XX else "ok"
