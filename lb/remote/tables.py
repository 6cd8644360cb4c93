"""`lb pools` and `lb audit`: what the API answers, as tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from lb.config.toml_text import toml
from lb.remote.api import Remote
from lb.remote.exits import Code
from lb.remote.terminal_text import columns, printable, printable_json, quantile, remembered, say

POOLS = ("POOL", "POLICY", "AVAILABLE", "REQ/S", "5XX", "P50", "P99", "IN FLIGHT", "QUEUED")
MOST_CHANGES = 3
"""Of an act; `--json` has all."""


def pools(remote: Remote, json: bool) -> int:
    """The pools with their rates of the last ten seconds."""
    if json:
        say(printable_json(remote.call("GET", "/pools").text))
    else:
        say("\n".join(columns([POOLS, *map(_pool, remote.call("GET", "/stats").json["pools"])])))
    return Code.DONE


def _pool(pool: Mapping[str, Any]) -> tuple[object, ...]:
    rates = pool["rates"]
    return (
        pool["name"],
        pool["policy"],
        f"{pool['available']} of {pool['backends']}",
        f"{rates['requests_per_second']:.1f}",
        f"{rates['share_5xx']:.0%}",
        quantile(rates["p50_seconds"]),
        quantile(rates["p99_seconds"]),
        pool["in_flight"],
        pool["queued"],
    )


def audit(remote: Remote, limit: int | None, json: bool) -> int:
    """Who changed what, the newest first, a line each; then since when, and where older acts are."""
    answer = remote.call("GET", "/audit", {"limit": limit})
    if json:
        say(printable_json(answer.text))
        return Code.DONE
    said = [printable(_act(each)) for each in answer.json["items"]] or ["nobody has changed anything"]
    say("\n".join([*said, *_remembered(answer.json)]))
    return Code.DONE


def _remembered(audit: Mapping[str, Any]) -> Iterator[str]:
    """Since when, and where older acts are; a balancer of a former version does not say it."""
    if (since := audit.get("remembered_since")) is not None:
        file = audit["file"]
        older = "with admin.audit_file a file would have all" if file is None else f"{file} has all"
        yield remembered(since, older)


def _act(entry: Mapping[str, Any]) -> str:
    status = "" if entry["status"] is None else f"  {entry['status']}"
    more = f"  and {entry['and_more']} more" if entry["and_more"] else ""
    why = f"  {entry['why']}" if entry["why"] else ""
    what = f"{entry['operation']} {entry['target']}".strip()
    who = f"{entry['who']} from {entry['source']}"
    return f"{entry['at']}  {who}  {what}{status}{_changes(entry)}{why}{more}"


def _changes(entry: Mapping[str, Any]) -> str:
    changes = entry["changes"]
    shown = [
        f"{key}: {_value(old)} -> {_value(new)}" for key, (old, new) in [*changes.items()][:MOST_CHANGES]
    ]
    if (more := len(changes) - len(shown) + entry["untold"]) > 0:
        shown.append(f"{more} more")
    return f"  {', '.join(shown)}" if shown else ""


def _value(value: object) -> str:
    return "-" if value is None else value if isinstance(value, str) else toml(value)
