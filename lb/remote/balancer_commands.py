"""`lb drain` and `lb upgrade`: drain the balancer itself, or take that back; replace its program."""

from lb.remote.api import Answer, Remote
from lb.remote.change_text import changed
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, printable_json, say, seconds
from lb.suggestions import plural

PATH = "/drain"
AT_ONCE_SECONDS = 0.1
"""A drain that took less has not waited for anything that is worth a word."""
LONGEST_UPGRADE = 3600.0
"""The balancer ends its wait for a new program itself, after `timeouts.upgrade`."""


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


def upgrade(remote: Remote, dry_run: bool, json: bool) -> int:
    """Replace the program, or ask what would be started and what would change."""
    params = {"dry_run": "true" if dry_run else None}
    try:
        answer = remote.call("POST", "/upgrade", params, wait=LONGEST_UPGRADE)
    except KeyboardInterrupt:
        raise Failed("the upgrade goes on; the log says how it ends", Code.INTERRUPTED) from None
    if json:
        say(printable_json(answer.text))
    elif dry_run:
        _say_rehearsed(answer)
    else:
        now = answer.json
        after, took = now["after"], seconds(now["seconds"])
        who = f"process {after['pid']} ({after['version']})"
        say(printable(f"{who} serves in place of {now['before']['pid']}, after {took}"))
    return Code.DONE


def _say_rehearsed(answer: Answer) -> None:
    now = answer.json
    say(printable(f"starts   {' '.join(now['command'])}"))
    say(printable(f"version  {now['before']['version']} -> {now['after']['version']}"))
    if (changes := now["configuration"]) is not None:
        say(printable(f"file     {changes['source']}: {changes['summary']}"))
        for each in changes["needs_restart"]:
            say(printable(f"also     {changed(each)}"))
    for note in now["notes"]:
        say(printable(f"note     {note}"))


def _described(remote: Remote, answer: Answer) -> str:
    now = answer.json
    left = plural(now["remaining"], "request") if now["remaining"] else "nothing is"
    took = "" if now["duration_seconds"] < AT_ONCE_SECONDS else f" after {seconds(now['duration_seconds'])}"
    end = "; it stops" if now["stopping"] else "; lb drain --undo takes it back"
    return f"{remote.where} is {printable(now['state'])}: {left} in flight{took}{end}"


def log_level(remote: Remote, json: bool) -> int:
    """Say which it is."""
    return _told_level(remote.call("GET", "/log-level"), json)


def set_log_level(remote: Remote, level: str, for_seconds: float | None, json: bool) -> int:
    """Change it, and say which it is now."""
    return _told_level(remote.call("PUT", "/log-level", body={"level": level, "for": for_seconds}), json)


def _told_level(answer: Answer, json: bool) -> int:
    told = answer.json
    if json:
        say(printable_json(answer.text))
        return Code.DONE
    words = "as configured"
    if told["level"] != told["configured"]:
        left = told["seconds_left"]
        time = "until it is changed" if left is None else f"for {seconds(left)}"
        words = f"{time}; configured: {told['configured']}"
    say(printable(f"{told['level']}, {words}"))
    return Code.DONE
