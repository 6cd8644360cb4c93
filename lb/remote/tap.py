"""`lb tap`: requests as they end. Failed ones come as events; for all of them the API is polled."""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from json import dumps
from typing import Any, NamedTuple

from lb.remote.api import Remote
from lb.remote.terminal_text import printable, printable_json, say, warn
from lb.suggestions import plural

PAGE = 200
MOST_SEEN = 10 * PAGE
"""So many requests are not shown twice where a worker that did not answer for a while has them again."""
POLL_SECONDS = 1.0
KNOWN_TO_API = "[1-5]([0-9]{2}|xx)"
"""A status, or a class of them; 50x is neither."""


class Shown(NamedTuple):
    """What is shown of a request; `took` in milliseconds."""

    at: str
    status: int
    error: str | None
    what: str
    backend: str | None
    took: float
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which requests are wanted; `status` is 502 or 5xx, `slower` in milliseconds, `path` a beginning."""

    backend: str | None = None
    status: str | None = None
    slower: float = 0.0
    path: str | None = None

    @property
    def for_api(self) -> Mapping[str, object]:
        """What the balancer can choose by, so that a page is full of wanted ones; `fits` does the rest."""
        is_known = self.status is not None and re.fullmatch(KNOWN_TO_API, self.status)
        return {"backend": self.backend, "status": self.status if is_known else None}

    def fits(self, request: Shown) -> bool:
        target = request.what.partition(" ")[2]
        return (
            self.backend in (None, request.backend)
            and (self.status is None or _is_like(request.status, self.status))
            and request.took >= self.slower
            and (self.path is None or target.startswith(self.path))
        )


def _is_like(status: int, wanted: str) -> bool:
    return all(digit in (other, "x") for other, digit in zip(str(status), wanted, strict=True))


def tap(remote: Remote, wanted: Filter, failed: bool, json: bool) -> int:
    """Show requests until interrupted."""
    for request, text in _failed(remote) if failed else _all(remote, wanted):
        if wanted.fits(request):
            say(printable_json(text) if json else _line(request))
    raise AssertionError("a stream ends with an error, and polling never")


def _failed(remote: Remote) -> Iterator[tuple[Shown, str]]:
    for event in remote.events("request_failed"):
        told = event.json
        if told["untold"]:
            warn(f"{plural(told['untold'], 'more request')} failed before the next one")
        yield _shown(told, told["at"], told["backend"], told["seconds"] * 1000), event.text


def _all(remote: Remote, wanted: Filter) -> Iterator[tuple[Shown, str]]:
    for request in _new_ones(remote, wanted.for_api):
        tried = request["attempts"]
        backend = tried[-1]["backend"] if tried else None
        shown = _shown(request, request["ended"], backend, request["timings_ms"]["total"])
        yield shown, dumps(request, ensure_ascii=False)


def _new_ones(remote: Remote, filters: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    """Each such request that ends from now on, the oldest first; a warning where more end than a page has."""
    seen = dict.fromkeys(_key(each) for each in _page(remote, filters))
    while True:
        time.sleep(POLL_SECONDS)  # noqa: TID251 - there is no event loop in this process
        page = _page(remote, filters)
        news = [each for each in page if _key(each) not in seen]
        if len(news) == PAGE:
            warn("more requests ended than can be looked at; some are left out")
        yield from reversed(news)
        newest = dict.fromkeys(_key(each) for each in page)
        seen = dict.fromkeys(islice([*newest, *(key for key in seen if key not in newest)], MOST_SEEN))


def _page(remote: Remote, filters: Mapping[str, object]) -> list[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = remote.call("GET", "/requests", {"limit": PAGE, **filters}).json["items"]
    return items


def _key(request: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells requests apart; the id alone does not, because trusted clients may choose it."""
    return request["id"], request["started"], request["ended"], request["client"]


def _shown(request: Mapping[str, Any], at: str, backend: str | None, took: float) -> Shown:
    what = f"{request['method'] or '-'} {request['target'] or '-'}"
    return Shown(at, request["status"], request["error"], what, backend, took, request["id"])


def _line(request: Shown) -> str:
    """One line: the time in UTC, the end and whose it is, what was asked, how long it took."""
    clock = request.at.partition("T")[2] or request.at
    own = f"of {request.backend}" if request.status >= 500 and request.backend else ""
    end = f"{request.status} {request.error or own}".rstrip()
    where = request.backend or "-"
    return printable(f"{clock}  {end}  {request.what}  {where}  {request.took:.1f} ms  {request.id}")
