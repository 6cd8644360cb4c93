"""The lines of the event log; `script/event_log.js` writes the same."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from admin.page.tones import EVENT_TONES
from admin.page.wording import took


class LogLine(NamedTuple):
    """One event: its time, its tone, which backend, pool or balancer it is about, and what happened."""

    at: str
    tone: str
    subject: str
    what: str


def log_line(event: Mapping[str, Any]) -> LogLine:
    """The line of one event of /events; `event` is its JSON."""
    pool = f"pool {event['pool']}" if "pool" in event else "balancer"
    kind, detail = event["kind"], event.get("detail", "")
    if kind == "drained":
        detail = f"in {took(event['duration_seconds'])}, {event['aborted']} cut"
    elif "started_with" in event:
        detail = f"{event['remaining']} in flight"
    what = f"{kind} · {detail}" if detail else kind
    return LogLine(event["at"], EVENT_TONES.get(kind, ""), event.get("backend", pool), what)
