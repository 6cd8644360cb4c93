"""Requests that run now, in words: for `lb requests`, `lb why --running`, and `lb why ID` of one of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from lb.remote.api import Remote
from lb.remote.exits import Code
from lb.remote.terminal_text import printable, printable_json, say, seconds
from lb.suggestions import plural

MOST = 1000
ALL: Mapping[str, object] = {}


def list_running(remote: Remote, json: bool, wanted: Mapping[str, object] = ALL) -> int:
    """Print the requests that run now, those that run longest first; `wanted` chooses among them."""
    answer = remote.call("GET", "/requests", {"running": "true", "limit": MOST, **wanted})
    if json:
        say(printable_json(answer.text))
    else:
        items, total = answer.json["items"], answer.json["total"]
        say("\n".join([f"{plural(total, 'request')} running", *map(summary, items)]))
    return Code.DONE


def summary(request: Mapping[str, Any]) -> str:
    """One line: what it is, its phase, how long it runs, and its id."""
    what = f"{request['method'] or '-'} {request['target'] or '-'}"
    on = request.get("backend")
    phase = f"{request['phase']} on {on}" if on else request["phase"]
    ran = seconds(request["seconds"])
    return printable(f"  {what}  {phase}  {ran}  from {request['client']}  id {request['id']}")


def described_running(request: Mapping[str, Any]) -> Iterator[str]:
    """The lines about one request that runs."""
    what = f"{request['method'] or '-'} {request['target'] or '-'}"
    yield printable(f"{what}: running for {seconds(request['seconds'])}")
    by = f"pool {request['pool']}" if request["pool"] else "no pool"
    yield printable(f"{request['started']}  from {request['client']}  {by}  id {request['id']}")
    yield ""
    waits = f": it waits for {request['waits_for']}" if request["waits_for"] else ""
    phase = request["phase"][:1].upper() + request["phase"][1:]
    yield printable(f"{phase} for {seconds(request['phase_seconds'])}{waits}.")
    tried = plural(request["attempts"], "attempt")
    came = (
        f"{request['request_bytes']} bytes of its body have come, {request['response_bytes']} of its answer"
    )
    yield printable(f"{tried} so far; {came}.")
