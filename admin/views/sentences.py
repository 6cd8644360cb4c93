"""Parts of sentences: lists of ids, quotations, times of day and durations."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from lb.observe.access_log import safe

Wall = Callable[[float], float]
"""Turns a time of the registry's clock into seconds since 1970."""

LONGEST_QUOTED = 200
MOST_NAMES = 3
SAME_DAY = 12 * 3600.0


def names(ids: Iterable[str]) -> str:
    """The ids, each once: "web1, web2 and 3 more"."""
    return listed(list(dict.fromkeys(ids)))


def listed(items: Sequence[str]) -> str:
    """The first items as a list with "and", and how many more there are."""
    shown = list(items[:MOST_NAMES])
    if (more := len(items) - len(shown)) > 0:
        shown.append(f"{more} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def quoted(text: str) -> str:
    """Text that a backend or a client may have worded: printable, and not too long."""
    plain = safe(text.encode("utf-8", "surrogateescape"))
    return plain if len(plain) <= LONGEST_QUOTED else plain[: LONGEST_QUOTED - 3] + "..."


def clock(moment: float, now: float, wall: Wall) -> str:
    """The time of day in UTC, with the date where it may be another day."""
    style = "%H:%M:%SZ" if abs(now - moment) < SAME_DAY else "%Y-%m-%d %H:%M:%SZ"
    return datetime.fromtimestamp(wall(moment), UTC).strftime(style)


def size(count: int) -> str:
    """A number of bytes."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """How long something took."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
