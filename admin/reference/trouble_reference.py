"""The kinds of trouble, the gravest first, and from when on each is told."""

from collections.abc import Iterator

from admin.reference.topic import Topic, entry
from lb.core.trouble_kinds import MEANS, THRESHOLDS, Threshold
from lb.core.trouble_rules import percent, took

PREFACE = """\
What GET /trouble, the page, `lb status`, `lb top` and the events `trouble` say in sentences. A trouble
begins when it has been found for as long as stands here, and is over when it is no more so, or, of what comes
from rates, when it has not been so for as long as stands here. The last that are over are remembered, and
what begins again within an hour is told as one: GET /trouble/ended, `lb status --ended`.
"""


def trouble_topic() -> Topic:
    """Every kind."""
    return Topic(
        tuple(entry(kind, kind, MEANS[kind], _when(bar)) for kind, bar in THRESHOLDS.items()), PREFACE
    )


def _when(bar: Threshold) -> str:
    told, over = _after(bar.lasts), _after(bar.calm)
    return f"Told {told}{''.join(_bars(bar))}. Over {over}."


def _after(seconds: float) -> str:
    return f"after {seconds:g} s" if seconds else "at once"


def _bars(bar: Threshold) -> Iterator[str]:
    if bar.share:
        yield f"; {percent(bar.share)} or more"
    if bar.times:
        yield f"; {bar.times:g} times what the others have, or more"
    if bar.seconds:
        yield f"; {took(bar.seconds) if bar.seconds < 3600 else f'{bar.seconds / 86400:g} days'} or more"
    if bar.least_requests:
        yield f"; of {bar.least_requests} requests or more in ten seconds"
    if bar.least_failures:
        yield f"; {bar.least_failures} failures or more"
