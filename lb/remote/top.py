"""`lb top`: rates, latencies and states as a table, updated once a second."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from lb.remote.api import Remote
from lb.remote.exits import Code
from lb.remote.terminal_text import columns, printable_json, say, seconds
from lb.suggestions import plural

HEAD = ("BACKEND", "POOL", "STATE", "WEIGHT", "IN FLIGHT", "REQ/S", "SHARE", "5XX", "P50", "P99", "WHY")


def top(remote: Remote, once: bool, json: bool) -> int:
    """Show the table until interrupted, or once."""
    if once:
        answer = remote.call("GET", "/stats")
        say(printable_json(answer.text) if json else "\n".join(frame(remote, answer.json)))
    elif sys.stdout.isatty() and not json:
        _live(remote)
    else:
        for event in remote.events("stats"):
            say(printable_json(event.text) if json else "\n".join([*frame(remote, event.json), ""]))
    return Code.DONE


def _live(remote: Remote) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        for event in remote.events("stats"):
            lines = frame(remote, event.json)
            live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)


def frame(remote: Remote, stats: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one table: totals, each pool that queues or panics, each backend."""
    totals = stats["totals"]
    up = f"up for {seconds(stats['uptime_seconds'])}"
    state = "stopping" if stats["stopping"] else "draining" if stats["draining"] else up
    yield f"{remote.where}  {state}"
    yield (
        f"{_rate(totals)} req/s  5xx {_share(totals['rates']['share_5xx'])}"
        f"  p50 {seconds(totals['rates']['p50_seconds'])}  p99 {seconds(totals['rates']['p99_seconds'])}"
        f"  {totals['in_flight']} in flight  {totals['queued']} queued"
        f"  {plural(totals['connections'], 'client')}"
        f"  {totals['available']} of {plural(totals['backends'], 'backend')} available"
    )
    yield from columns(_pool(pool) for pool in stats["pools"] if pool["queued"] or pool["panicking"])
    yield ""
    yield from columns([HEAD, *(_row(backend) for backend in stats["backends"])])


def _pool(pool: Mapping[str, Any]) -> tuple[str, str]:
    note = ", panicking: too few are fit" if pool["panicking"] else ""
    return f"pool {pool['name']}", f"{pool['queued']} queued{note}"


def _row(backend: Mapping[str, Any]) -> tuple[object, ...]:
    rates = backend["rates"]
    cap = "" if backend["cap"] is None else f"/{backend['cap']}"
    return (
        *(backend[name] for name in ("id", "pool", "state", "weight")),
        f"{backend['in_flight']}{cap}",
        _rate(backend),
        _share(backend["share"]),
        _share(rates["share_5xx"]),
        seconds(rates["p50_seconds"]),
        seconds(rates["p99_seconds"]),
        backend["why"],
    )


def _rate(traffic: Mapping[str, Any]) -> str:
    return f"{traffic['rates']['requests_per_second']:.1f}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
