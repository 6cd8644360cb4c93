"""`lb requests end ID`: one request that runs is cut, and what became of it is said in a sentence.

A request may end by itself while somebody types its id. So that none runs by an id is looked into: one that
is over is what was wanted, and one that nobody knows is most likely a mistyped id.
"""

from collections.abc import Mapping
from typing import Any

from lb.remote.api import Answer, Remote, path_of
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, printable_json, say, seconds

ALL = "/requests"


def end(remote: Remote, request_id: str, dry_run: bool, json: bool) -> int:
    """Cut the request with this id, or with `dry_run` say which one that would be."""
    answer = _shown(remote, request_id) if dry_run else _cut(remote, request_id)
    if json:
        say(printable_json(answer.text))
    else:
        say(printable(_sentence(answer.json, dry_run)))
    return Code.DONE


def _cut(remote: Remote, request_id: str) -> Answer:
    """The request as it was when it was told to end; as it is remembered where it has ended before."""
    try:
        return remote.call("DELETE", path_of(ALL, request_id))
    except Failed as exc:
        if exc.code is not Code.NOT_THERE:
            raise
    found = _shown(remote, request_id)
    if _runs(found.json):
        raise Failed(f"{printable(request_id)} began just now, and was not ended: try again")
    return found


def _shown(remote: Remote, request_id: str) -> Answer:
    try:
        return remote.call("GET", path_of(ALL, request_id))
    except Failed as exc:
        if exc.code is Code.NOT_THERE:
            hint = "nothing was ended; lb requests lists those that run"
            raise Failed(f"{exc}\n{hint}", exc.code) from exc
        raise


def _runs(request: Mapping[str, Any]) -> bool:
    """One that has ended has a status instead."""
    return "phase" in request


def _sentence(request: Mapping[str, Any], dry_run: bool) -> str:
    what = f"{request['method'] or '-'} {request['target'] or '-'}"
    if not _runs(request):
        end = f"{request['status']} {request['error'] or ''}".rstrip()
        return f"{request['id']} was over already: {what} ended at {request['ended']} with {end}"
    on = f" on {request['backend']}" if request["backend"] else ""
    ran = f"after {seconds(request['seconds'])} in all"
    told = "would be ended" if dry_run else "is ended"
    return f"{request['id']} {told}, {ran}: {what} of {request['client']}, {request['phase']}{on}"
