"""The condition of the balancer, for the title and the icon of the tab; `script/condition.js` is the same."""

from typing import NamedTuple

from admin.page.tones import MUCH_5XX, TONES
from admin.page.wording import percent
from admin.views.stats_json import Stats

ENOUGH = 20
"""Of fewer requests in ten seconds, the share of failures does not change the title."""


class Condition(NamedTuple):
    """A tone, and a few words for the title."""

    tone: str
    words: str


UNKNOWN = Condition("ok", "")


def condition(stats: Stats) -> Condition:
    """The worst that the numbers show: a pool without backends, backends that are down, a drain, failures."""
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
