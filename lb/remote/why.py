"""`lb why`: one request explained, with a waterfall of its attempts."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from lb.remote.api import Remote, path_of
from lb.remote.exits import Code
from lb.remote.running_text import described_running
from lb.remote.terminal_text import columns, folded, milliseconds, printable, printable_json, say
from lb.remote.which_request import Wish, which

WIDTH = 40
MOST_NAMES = 5
"""Of the backends that were passed over; `--json` names them all."""
LEGEND = "q in the queue   c connecting   w waiting for the answer   = answer"
Phase = tuple[str, float | None, float | None]


def why(remote: Remote, request_id: str | None, wish: Wish, json: bool) -> int:
    """Explain the request with this id; without one, the one that is wished for."""
    others: list[str] = []
    if request_id is None:
        request_id, others = which(remote, wish)
    answer = remote.call("GET", path_of("/requests", request_id))
    if json:
        say(printable_json(answer.text))
    else:
        runs = "phase" in answer.json  # a request that has ended has a status instead
        say("\n".join(folded((described_running if runs else described)(answer.json))))
        if others:
            say("\n".join(["", *folded(others)]))
    return Code.DONE


def described(request: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the explanation."""
    end = f"{request['status']} {request['error'] or ''}".rstrip()
    took = milliseconds(request["timings_ms"]["total"])
    yield printable(f"{request['method'] or '-'} {request['target'] or '-'}: {end} in {took}")
    by = f"pool {request['pool']} ({request['policy']})" if request["pool"] else "no pool"
    yield printable(f"{request['started']}  from {_client(request)}  {by}  id {request['id']}")
    if tls := request.get("tls"):
        yield printable(_secured(tls))
    if header := request.get("proxy_header"):
        yield printable(_proxy_header(header))
    yield ""
    yield printable(request["explain"])
    if request["attempts"]:
        yield ""
        yield from _waterfall(request)
        yield from _passed_over(request["attempts"])


def _client(request: Mapping[str, Any]) -> str:
    client, peer = str(request["client"]), request.get("peer")
    return client if peer in (None, client) else f"{client} by way of {peer}"


def _secured(tls: Mapping[str, Any]) -> str:
    resumed = " (a session was resumed)" if tls["resumed"] else ""
    shown = f", the client's certificate is {tls['client_subject']}" if tls["client_subject"] else ""
    return f"{tls['version']}{resumed} for {tls['server_name'] or 'no server name'}{shown}"


def _proxy_header(header: Mapping[str, Any]) -> str:
    said = ", ".join(f"{name} {value}" for name, value in header["told"].items())
    return f"PROXY header from {header['sent_by']}, for {header['destination']}{': ' if said else ''}{said}"


def _waterfall(request: Mapping[str, Any]) -> Iterator[str]:
    timings, attempts = request["timings_ms"], request["attempts"]
    total = max(timings["total"], *(each["ended_ms"] or 0.0 for each in attempts))
    queue: Phase = ("q", 0.0, timings["queue"])
    rows = [("queue", _bar([queue], total), milliseconds(timings["queue"]), "")] if timings["queue"] else []
    rows += [_attempt(each, total) for each in attempts]
    yield from (f"  {line}" for line in columns(rows))
    yield f"  {LEGEND}"


def _attempt(attempt: Mapping[str, Any], total: float) -> tuple[str, str, str, str]:
    """The row of one attempt: backend, bar, duration, how it ended."""
    ended = total if attempt["ended_ms"] is None else attempt["ended_ms"]
    end = attempt["error"] or ("another was quicker" if attempt["is_beaten"] else "")
    notes = ", ".join(note for note in (end, "reused connection" if attempt["reused"] else "") if note)
    took = milliseconds(ended - attempt["started_ms"])
    return attempt["backend"], _bar(_phases(attempt, ended), total), took, notes


def _phases(attempt: Mapping[str, Any], ended: float) -> list[Phase]:
    """The phases of an attempt with start and end. The last phase that was reached lasts until the end."""
    started, answered = attempt["started_ms"], attempt["first_byte_ms"]
    connected = started if attempt["reused"] else attempt["connected_ms"]
    return [
        ("c", started, ended if connected is None else connected),
        ("w", connected, ended if answered is None else answered),
        ("=", answered, ended),
    ]


def _bar(phases: list[Phase], total: float) -> str:
    """The phases on a bar of WIDTH cells for `total` milliseconds; a short phase still gets one cell."""
    cells = [" "] * WIDTH
    scale = WIDTH / total if total else 0.0
    for char, start, end in phases:
        if start is not None and end is not None and end > start:
            first = min(int(start * scale), WIDTH - 1)
            last = min(max(ceil(end * scale), first + 1), WIDTH)
            cells[first:last] = char * (last - first)
    return f"|{''.join(cells)}|"


def _passed_over(attempts: list[Mapping[str, Any]]) -> Iterator[str]:
    for attempt in attempts:
        shown = attempt["passed_over"][:MOST_NAMES]
        others = ", ".join(f"{each['backend']} ({each['why']})" for each in shown)
        if more := attempt["passed_over_count"] - len(shown):
            others += f" and {more} more"
        if others:
            yield printable(f"  {attempt['backend']} was chosen without {others}")
