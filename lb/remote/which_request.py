"""Which request `lb why` explains where no id is given: the last one that failed, or what its flags choose.

A scanner's mistakes fail too, by the dozen, and would hide the 502 that somebody looks for. So failures at
the fault of a client are explained only where there are no others, and otherwise named below.

Of a backend, attempts that failed are looked for too: the request was tried elsewhere then and may have been
answered, so that only the counters of the backend tell of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lb.remote.api import Remote
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import milliseconds, printable, remembered

CLIENTS_DOING = ("client_disconnected", "http_request_error")
"""The errors at a client's fault."""
LATELY = "1h"
MOST_KINDS = 50
MOST_OTHERS = 5
NEWER = "newer, at its client's fault:"
Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for; `since` and `until` are as the API takes them."""

    slow: bool = False
    status: str | None = None
    backend: str | None = None
    pool: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def filters(self) -> Mapping[str, object]:
        since = LATELY if self.slow and not (self.since or self.until) else self.since
        facts = {"status": self.status, "backend": self.backend, "pool": self.pool}
        return {**facts, "since": since, "until": self.until}


class Found(NamedTuple):
    """Requests, and since when all such requests are remembered; None where none was forgotten."""

    items: Sequence[Request]
    remembered_since: str | None = None


def which(remote: Remote, wish: Wish) -> tuple[str, list[str]]:
    """The id of the request, and lines about others. Failed where there is none."""
    if wish.slow:
        found = _found(remote, {"slow": "true", "limit": MOST_OTHERS + 1, **wish.filters})
        if not found.items:
            raise Failed("no such request is kept; --since 24h looks further back", Code.NOT_THERE)
        return _first(found.items, "slow too:")
    if wish.status is not None:
        found = _found(remote, {"limit": 1, **wish.filters})
    elif wish.backend is not None:
        return _of_backend(remote, wish, wish.backend)
    else:
        found = _failed(remote, wish)
    if not found.items:
        raise _none(found)
    return _first(found.items, NEWER)


def _of_backend(remote: Remote, wish: Wish, backend: str) -> tuple[str, list[str]]:
    """The last one that failed, or of which an attempt on this backend did; its client need not know."""
    failed = _failed(remote, wish)
    tried = _found(remote, {"attempt_failed": "true", "limit": MOST_OTHERS + 1, **wish.filters})
    if not failed.items and not tried.items:
        newest = _found(remote, {"limit": 1, **wish.filters})
        if not newest.items:
            raise _none(tried)
        return _first(newest.items, NEWER)
    blamed = [each for each in failed.items[:1] if not tried.items or each["error"] not in CLIENTS_DOING]
    first, lines = str(max([*blamed, *tried.items[:1]], key=_ended)["id"]), list[str]()
    others = [each for each in tried.items if each["id"] != first]
    if blamed and blamed[0]["id"] == first:
        lines += _first(failed.items, NEWER)[1]
    elif blamed and blamed[0]["id"] not in {each["id"] for each in others}:
        lines += ["failed before:", *_lines(blamed)]
    if others:
        lines += [printable(f"attempts on {backend} that failed too:"), *_tried(others[:MOST_OTHERS])]
    return first, [*lines, *_since(tried)]


def _failed(remote: Remote, wish: Wish) -> Found:
    """The last one that failed, and before all others one that a client is not to blame for.

    Of failures alike only the newest is known as one of its kind; where none of these is wanted, an older one
    may be.
    """
    kinds = _found(remote, {"kinds": "true", "limit": MOST_KINDS, **wish.filters}).items
    if not kinds:
        return _found(remote, {"failed": "true", "limit": 1, **wish.filters})
    for place, each in enumerate(kinds):
        if each["error"] not in CLIENTS_DOING:
            return Found([each, *kinds[:place]])
    return Found(kinds[:1])


def _found(remote: Remote, params: Mapping[str, object]) -> Found:
    answer = remote.call("GET", "/requests", params).json
    return Found(answer["items"], answer.get("remembered_since"))


def _none(found: Found) -> Failed:
    why = ["no such request has failed lately; lb why ID explains another one", *_since(found)]
    return Failed("\n".join(why), Code.NOT_THERE)


def _since(found: Found) -> list[str]:
    return [] if found.remembered_since is None else [remembered(found.remembered_since)]


def _ended(request: Request) -> str:
    return str(request["ended"])


def _first(found: Sequence[Request], title: str) -> tuple[str, list[str]]:
    first, *others = found
    return str(first["id"]), [title, *_lines(others[:MOST_OTHERS])] if others else []


def _lines(others: Sequence[Request]) -> Iterator[str]:
    for each in others:
        tried = each["attempts"]
        end = f"{each['status']} {each['error'] or ''}".rstrip()
        where = tried[-1]["backend"] if tried else "-"
        yield printable(f"  {each['ended']}  {end}  {_what(each)}  {where}  {_took(each)}  id {each['id']}")


def _tried(others: Sequence[Request]) -> Iterator[str]:
    """Who was tried one after the other, and what came of it."""
    for each in others:
        ends = [f"{one['backend']}: {_end(one, each['status'])}" for one in each["attempts"]]
        tried = "; then ".join(ends)
        yield printable(f"  {each['ended']}  tried {tried}  {_what(each)}  {_took(each)}  id {each['id']}")


def _end(attempt: Mapping[str, Any], status: int) -> str:
    if attempt["is_beaten"]:
        return "slower"
    return str(status) if attempt["error"] is None else str(attempt["error"]).replace("_", " ")


def _what(request: Request) -> str:
    return f"{request['method'] or '-'} {request['target'] or '-'}"


def _took(request: Request) -> str:
    return milliseconds(request["timings_ms"]["total"])
