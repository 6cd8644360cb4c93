"""`lb tap`: requests as they end. Failed ones come as events; for all of them the API is polled."""

import time
from collections.abc import Iterator, Mapping
from json import dumps
from typing import Any

from lb.remote.api import Remote
from lb.remote.terminal_text import printable, printable_json, say, warn
from lb.suggestions import plural

PAGE = 200
POLL_SECONDS = 1.0


def tap(remote: Remote, failed: bool, json: bool) -> int:
    """Show requests until interrupted."""
    return _failed(remote, json) if failed else _all(remote, json)


def _failed(remote: Remote, json: bool) -> int:
    for event in remote.events("request_failed"):
        told = event.json
        if told["untold"]:
            warn(f"{plural(told['untold'], 'more request')} failed before the next one")
        line = _line(told, told["at"], told["backend"], told["seconds"] * 1000)
        say(printable_json(event.text) if json else line)
    raise AssertionError("a stream ends with an error")


def _all(remote: Remote, json: bool) -> int:
    for request in new_ones(remote):
        tried = request["attempts"]
        backend = tried[-1]["backend"] if tried else None
        line = _line(request, request["ended"], backend, request["timings_ms"]["total"])
        say(printable_json(dumps(request, ensure_ascii=False)) if json else line)
    raise AssertionError("polling never ends")


def new_ones(remote: Remote) -> Iterator[Mapping[str, Any]]:
    """Each request that ends from now on, the oldest first; a warning where more ended than a page holds."""
    seen = {_key(each) for each in _page(remote)}
    while True:
        time.sleep(POLL_SECONDS)  # noqa: TID251 - there is no event loop in this process
        page = _page(remote)
        news = [each for each in page if _key(each) not in seen]
        if len(news) == PAGE:
            warn("more requests ended than can be shown; some are left out")
        yield from reversed(news)
        seen = {_key(each) for each in page}


def _page(remote: Remote) -> list[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = remote.call("GET", "/requests", {"limit": PAGE}).json["items"]
    return items


def _key(request: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells requests apart; the id alone does not, because trusted clients may choose it."""
    return request["id"], request["started"], request["ended"], request["client"]


def _line(request: Mapping[str, Any], at: str, backend: str | None, took: float) -> str:
    end = f"{request['status']} {request['error'] or ''}".rstrip()
    what = f"{request['method'] or '-'} {request['target'] or '-'}"
    return printable(f"{at}  {end}  {what}  {backend or '-'}  {took:.1f} ms  {request['id']}")
