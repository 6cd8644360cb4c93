"""`lb backends`: list, add, change, drain and remove backends."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from lb.remote.api import Answer, Remote, path_of
from lb.remote.drain_wait import GONE, goes_on, remains, see_through, verdict
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, printable_json, printable_lines, say

ALL = "/backends"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which backend to take out, and how many seconds to wait for that; None is not to wait at all."""

    id: str
    patience: float | None = inf
    json: bool = False


def ls(remote: Remote, pool: str | None, state: str | None, json: bool) -> int:
    params = {"pool": pool, "state": state, "format": None if json else "table"}
    answer = remote.call("GET", ALL, params)
    say((printable_json if json else printable_lines)(answer.text).rstrip("\n"))
    return Code.DONE


def add(remote: Remote, fields: Mapping[str, object], json: bool) -> int:
    answer = remote.call("POST", ALL, body=fields)
    return _told(answer, "is added" if answer.status == 201 else "was there already", json)


def weight(remote: Remote, backend: str, weight: int, json: bool) -> int:
    return _told(remote.call("PATCH", path_of(ALL, backend), body={"weight": weight}), "is changed", json)


def ready(remote: Remote, backend: str, json: bool) -> int:
    return _told(remote.call("POST", path_of(ALL, backend, "ready")), "is told to take requests", json)


def drain(remote: Remote, wish: Wish, timeout: str | None, then: str | None) -> int:
    answer = remote.call("POST", path_of(ALL, wish.id, "drain"), {"timeout": timeout, "then": then})
    return _see_through(remote, wish, answer)


def rm(remote: Remote, wish: Wish, timeout: str | None, force: bool) -> int:
    params = {"drain_timeout": timeout, "force": "true" if force else None}
    return _see_through(remote, wish, remote.call("DELETE", path_of(ALL, wish.id), params))


def _told(answer: Answer, what: str, json: bool) -> int:
    backend = answer.json
    facts = f"{backend['url']}, pool {backend['pool']}, weight {backend['weight']}"
    text = printable(f"{backend['id']} {what}: {facts}, {backend['status']['state']}")
    say(printable_json(answer.text) if json else text)
    return Code.DONE


def _see_through(remote: Remote, wish: Wish, answer: Answer) -> int:
    """Wait for the drain as `wish` says and print how it ended. With --json the JSON is printed first."""
    try:
        answer = see_through(remote, wish.id, answer, wish.patience or 0.0)
    except KeyboardInterrupt:
        raise Failed(goes_on(wish.id), Code.INTERRUPTED) from None
    if wish.json and answer != GONE:
        say(printable_json(answer.text))
    drain = answer.json and answer.json["status"]["drain"]
    if wish.patience is None and drain and drain["outcome"] is None:
        text = remains(wish.id, drain)
    else:
        text = verdict(wish.id, answer)
    if not wish.json:
        say(text)
    return Code.DONE
