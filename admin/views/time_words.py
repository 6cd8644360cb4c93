"""Where the time of an answered exchange went, in sentences, beside what its pool usually takes, and where to
look.
"""

from collections.abc import Sequence

from admin.views.sentences import duration
from lb.core.exchange_record import ExchangeRecord
from lb.core.time_spent import TUNNEL, TimeSpent, slowness, time_spent

SHORT_SECONDS = 0.01
"""What took no longer in all needs no words."""
LEAST_SHARE = 0.05
"""A phase that took less of the whole is not told."""
SLOW_TIMES = 2.0
"""So many times the median is slow."""

SPENT: dict[str, str] = {
    "gathering": "until the client had sent its request",
    "queueing": "in the queue of pool {pool}",
    "trying": "with attempts before the last one",
    "connecting": "until {backend} had accepted the connection",
    "sending": "until the client had sent its body",
    "waiting": "until {backend} began to answer",
    "answering": "until {backend} had sent the rest of its answer",
    "reading": "until the client had taken the answer",
}
LOOK: dict[str, str] = {
    "gathering": "Look at the client and its network.",
    "queueing": "Look which backend was slow then; or raise max_in_flight, or add backends.",
    "trying": "Look why these attempts did not do.",
    "connecting": "Look at the network, and whether {backend} is too busy to accept.",
    "sending": "Look at the client and its network.",
    "waiting": "Look into the log of {backend} of that time: what it was busy with.",
    "answering": "Look what {backend} waited for in the middle of its answer.",
    "reading": "Look at the client and its network; no backend was slow.",
}


def where_time_went(exchange: ExchangeRecord) -> Sequence[str]:
    """Sentences about an exchange that was answered; none about a quick one."""
    total = (exchange.ended or exchange.started) - exchange.started
    spent = time_spent(exchange)
    last = exchange.deciding
    if total < SHORT_SECONDS or last is None or last.first_byte is None:
        return ()
    told = sorted(_told(spent, total), key=lambda each: each[1], reverse=True)
    if not told:
        return ()
    names = {"pool": exchange.pool, "backend": last.backend.id}
    parts = [(duration(seconds), SPENT[phase].format(**names)) for phase, seconds in told]
    (longest, where), *others = parts
    listed = ", ".join([f"{longest} passed {where}", *map(" ".join, others)])
    if exchange.is_stream or exchange.status == TUNNEL:
        return (f"Of that, {listed}. It was to last.",)
    usual = _beside_the_usual(exchange)
    look = LOOK[told[0][0]].format(**names) if usual is not None and usual[1] else ""
    return (f"Of that, {listed}.", "" if usual is None else usual[0], look)


def _told(spent: TimeSpent, total: float) -> list[tuple[str, float]]:
    phases = spent._asdict().items()
    return [(phase, seconds) for phase, seconds in phases if seconds >= LEAST_SHARE * total]


def _beside_the_usual(exchange: ExchangeRecord) -> tuple[str, bool] | None:
    """How it compares with the median of its pool, and whether it was slow; None where that is not known."""
    usual, total = exchange.usual, (exchange.ended or exchange.started) - exchange.started
    if not usual:
        return None
    median, times = f"the median of pool {exchange.pool}", total / usual
    if times < SLOW_TIMES:
        return f"That is as usual: {median} is {duration(usual)}.", False
    if slowness(exchange) < SLOW_TIMES * usual:
        return f"That is {times:.0f} times {median}, {duration(usual)}, and its client's doing.", True
    return f"That is {times:.0f} times {median}, {duration(usual)}.", True
