"""`lb drain`: drain the balancer itself, or take that back."""

from lb.remote.api import Answer, Remote
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, printable_json, say, seconds
from lb.suggestions import plural

PATH = "/drain"


def undo(remote: Remote, json: bool) -> int:
    answer = remote.call("DELETE", PATH)
    say(printable_json(answer.text) if json else f"{remote.where} is {printable(answer.json['state'])}")
    return Code.DONE


def drain(remote: Remote, wait: float | None, stop: bool, json: bool) -> int:
    """Begin the drain; with `wait`, wait that many seconds at most until no request is in flight."""
    params = {"wait": None if wait is None else f"{wait:g}", "exit": "true" if stop else None}
    try:
        answer = remote.call("POST", PATH, params, wait=wait or 0.0)
    except KeyboardInterrupt:
        raise Failed("the drain goes on; lb drain --undo takes it back", Code.INTERRUPTED) from None
    if json:
        say(printable_json(answer.text))
    if wait is not None and answer.json["remaining"]:
        raise Failed(_described(remote, answer), Code.STILL_DRAINING)
    if not json:
        say(_described(remote, answer))
    return Code.DONE


def _described(remote: Remote, answer: Answer) -> str:
    now = answer.json
    left, took = plural(now["remaining"], "request"), seconds(now["duration_seconds"])
    end = "; it stops" if now["stopping"] else "; lb drain --undo takes it back"
    return f"{remote.where} is {printable(now['state'])}: {left} in flight after {took}{end}"
