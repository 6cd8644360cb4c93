"""The order of the backends on the page: those in trouble above the others, as `script/table.js` has it."""

from collections.abc import Collection, Mapping, Sequence

from admin.page.tones import TONES
from admin.views.stats_json import BackendStats, Stats

RANKS = {"bad": 1, "warn": 2}
FINE = 3


def in_trouble(stats: Stats) -> Collection[str]:
    """The ids of the backends that something is told of."""
    return {each.backend for each in stats.trouble if each.backend is not None}


def by_pool(stats: Stats) -> Mapping[str, Sequence[BackendStats]]:
    """The backends of each pool."""
    troubled = in_trouble(stats)
    found: dict[str, list[BackendStats]] = {pool.name: [] for pool in stats.pools}
    for backend in stats.backends:
        found.setdefault(backend.pool, []).append(backend)
    for rows in found.values():
        rows.sort(key=lambda row: rank(row, troubled))
    return found


def rank(backend: BackendStats, troubled: Collection[str]) -> int:
    """What stands above is smaller."""
    return 0 if backend.id in troubled else RANKS.get(TONES.get(backend.state, ""), FINE)
