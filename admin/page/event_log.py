"""The lines of the event log; `script/event_log.js` writes the same."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from admin.page.tones import EVENT_TONES
from admin.page.wording import took

NOBODY = "anonymous"
"""The name of operators where no token is needed."""


class LogLine(NamedTuple):
    """One event: its time, its tone, what it is about, and what happened."""

    at: str
    tone: str
    subject: str
    what: str


def log_line(event: Mapping[str, Any]) -> LogLine:
    """The line of one event of /events; `event` is its JSON."""
    kind, detail = event["kind"], event.get("detail", "")
    if kind == "drained":
        detail = f"in {took(event['duration_seconds'])}, {event['aborted']} cut"
    elif "started_with" in event:
        detail = f"{event['remaining']} in flight"
    by = event.get("by", NOBODY)
    told = filter(None, (kind, detail, "" if by == NOBODY else f"by {by}"))
    return LogLine(event["at"], EVENT_TONES.get(kind, ""), _subject(event), " · ".join(told))


def _subject(event: Mapping[str, Any]) -> str:
    if "worker" in event:
        return f"worker {event['worker']}"
    if "certificate" in event:
        return event["certificate"] or "certificates"
    if "next_attempt" in event:
        return event["name"] or "balancer"
    pool = f"pool {event['pool']}" if "pool" in event else "balancer"
    return str(event.get("backend", pool))
