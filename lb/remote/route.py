"""`lb route URL`: which route, pool and backends a request for it would get."""

from collections.abc import Iterator, Mapping
from typing import Any

from lb.remote.api import Remote
from lb.remote.exits import Code
from lb.remote.terminal_text import columns, printable, printable_json, say

BACKENDS = ("BACKEND", "COULD TAKE IT", "WHY NOT")


def route(remote: Remote, url: str, method: str | None, json: bool) -> int:
    """Say it in sentences, with the backends below."""
    answer = remote.call("GET", "/route", {"url": url, "method": method})
    say(printable_json(answer.text) if json else "\n".join(_described(answer.json)))
    return Code.DONE


def _described(answer: Mapping[str, Any]) -> Iterator[str]:
    yield printable(f"{answer['method']} {answer['url']}")
    yield ""
    yield printable(answer["explain"])
    if answer["backends"]:
        yield ""
        yield from columns([BACKENDS, *map(_backend, answer["backends"])])
        if (more := answer["backends_total"] - len(answer["backends"])) > 0:
            yield f"and {more} more"


def _backend(backend: Mapping[str, Any]) -> tuple[str, str, str]:
    can = "no" if backend["why_not"] else "as a backup" if backend["backup"] else "yes"
    return backend["id"], can, backend["why_not"] or ""
