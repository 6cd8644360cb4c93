"""`lb status`: what is wrong with the balancer, in sentences, below a line of numbers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lb.remote.api import Remote
from lb.remote.exits import Code
from lb.remote.terminal_text import folded, printable, printable_json, quantile, say, seconds
from lb.suggestions import plural

MOST = 3
"""So many troubles are shown above a table, and so many backends named."""
TAKING = ("ready", "warming")
"""States in which a backend that is not full takes requests."""
MUCH = 0.05
"""From this share of requests on that got 5xx one does not say that nothing is wrong."""
JUST_FAILED = (
    "Nothing is wrong now, but {:.0%} of the requests of the last ten seconds got 5xx: see `lb why`."
)
WORDS = {"maintenance": "in maintenance", "trial": "on trial", "not_ready": "not ready"}
"""For states that are no words to end a sentence with."""


def status(remote: Remote, json: bool) -> int:
    """Print it once. With --json it is what GET /trouble answers."""
    if json:
        say(printable_json(remote.call("GET", "/trouble").text))
        return Code.DONE
    stats = remote.call("GET", "/stats").json
    named = {each.get("backend") for each in stats["trouble"]}
    why = _unavailable(each for each in stats["backends"] if each["id"] not in named)
    say("\n".join(folded([*headline(remote, stats, why), "", *_all(stats)])))
    return Code.DONE


def headline(remote: Remote, stats: Mapping[str, Any], why: str = "") -> Iterator[str]:
    """Where it is, for how long it has run, and the totals; `why` says why not all are available."""
    totals, rates = stats["totals"], stats["totals"]["rates"]
    clients = plural(totals["connections"], "client")
    available = f"{totals['available']} of {plural(totals['backends'], 'backend')} available"
    up = f"up for {seconds(stats['uptime_seconds'])}"
    state = "stopping" if stats["stopping"] else "draining" if stats["draining"] else up
    yield f"{remote.where}  {state}  {available}{why}"
    yield (
        f"{rates['requests_per_second']:.1f} req/s  5xx {rates['share_5xx']:.0%}"
        f"  p50 {quantile(rates['p50_seconds'])}  p99 {quantile(rates['p99_seconds'])}"
        f"  {totals['in_flight']} in flight  {totals['queued']} queued  {clients}"
    )


def _unavailable(backends: Iterable[Mapping[str, Any]]) -> str:
    """Who takes no requests, and why, between brackets; "" where nobody is out."""
    out = [f"{each['id']} {_how(each)}" for each in backends if not each["available"]]
    more = [f"{len(out) - MOST} more"] if len(out) > MOST else []
    return printable(f" ({', '.join([*out[:MOST], *more])})") if out else ""


def _how(backend: Mapping[str, Any]) -> str:
    """How it is, as the end of a sentence."""
    if backend["weight"] == 0 and backend["state"] in TAKING:
        return "has weight 0"
    return WORDS.get(backend["state"], "full" if backend["state"] in TAKING else backend["state"])


def _all(stats: Mapping[str, Any]) -> Iterator[str]:
    failed = stats["totals"]["rates"]["share_5xx"]
    if not stats["trouble"]:
        yield "Nothing is wrong." if failed < MUCH else JUST_FAILED.format(failed)
    for each in stats["trouble"]:
        yield printable(f"! {each['sentence']}")
        yield printable(f"    {each['advice']}")


def first_lines(trouble: list[Mapping[str, Any]]) -> Iterator[str]:
    """The gravest, for above a table."""
    for each in trouble[:MOST]:
        yield printable(f"! {each['sentence']}")
    if (more := len(trouble) - MOST) > 0:
        yield f"! {more} more: lb status"
