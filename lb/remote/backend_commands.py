"""`lb backends`: list, add, change, drain and remove backends."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from lb.remote.api import Answer, Remote, path_of
from lb.remote.backend_table import table
from lb.remote.drain_wait import GONE, Seen, goes_on, remains, see_through, verdict
from lb.remote.exits import Code, Failed
from lb.remote.fresh_probes import Patience, probe_of, until_well
from lb.remote.terminal_text import printable, printable_json, say, seconds

ALL = "/backends"
POLL_SECONDS = 0.2
UNTIL_RESTART = " (until the next start: there is no `state` file)"
UNCHECKED = "gets requests, but whether it answers is not known, as its pool has no probe"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which backend to take out, and how many seconds to wait for that; None is not to wait at all."""

    id: str
    patience: float | None = inf
    json: bool = False


def ls(remote: Remote, pool: str | None, state: str | None, width: int | None, json: bool) -> int:
    """Print those of this pool and state, in lines of this `width`, or as long as they are."""
    answer = remote.call("GET", ALL, {"pool": pool, "state": state})
    say(printable_json(answer.text) if json else "\n".join(table(answer.json["items"], width)))
    return Code.DONE


def add(remote: Remote, fields: Mapping[str, object], json: bool) -> int:
    answer = remote.call("POST", ALL, body=fields)
    return _told(answer, "is added" if answer.status == 201 else "was there already", json)


def weight(remote: Remote, backend: str, weight: int, json: bool) -> int:
    return _told(remote.call("PATCH", path_of(ALL, backend), body={"weight": weight}), "is changed", json)


def ready(remote: Remote, backend: str, wait: float | None, json: bool) -> int:
    """Let it take requests; with `wait` Failed where it takes none after so many seconds.

    Where its pool has a probe, only probes that begin afterwards count.
    """
    answer = remote.call("POST", path_of(ALL, backend, "ready"))
    if wait is None:
        return _told(answer, "is told to take requests", json)
    patience, probe = Patience(wait), probe_of(remote, answer.json["pool"])
    if probe is not None:
        until_well(remote, backend, probe, patience)
    answer = until_ready(remote, backend, patience)
    return _told(answer, "takes requests" if probe is not None else UNCHECKED, json)


def until_ready(remote: Remote, backend: str, patience: Patience) -> Answer:
    """Wait until the backend takes requests, and say how it is then; Failed if it does not in this time."""
    while True:
        answer = remote.call("GET", path_of(ALL, backend))
        why_not = answer.json["status"]["why_not"]
        if why_not is None:
            return answer
        if (left := patience.left) <= 0:
            text = f"{backend} takes no requests after {seconds(patience.seconds)}: {why_not}"
            raise Failed(printable(text), Code.STILL_DRAINING)
        time.sleep(min(POLL_SECONDS, left))  # noqa: TID251 - there is no event loop in this process


def maintenance(remote: Remote, backend: str, json: bool) -> int:
    return _told(remote.call("POST", path_of(ALL, backend, "maintenance")), "is out", json)


def check(remote: Remote, backend: str, json: bool) -> int:
    """Probe it now; Failed where the probe does not pass."""
    answer = remote.call("POST", path_of(ALL, backend, "check"))
    if json:
        say(printable_json(answer.text))
        return Code.DONE
    health = answer.json["status"]["health"]
    last = health["last"]
    text = printable(f"{backend}: {last['why']} in {seconds(last['seconds'])}; it is {health['verdict']}")
    if not last["ok"]:
        raise Failed(text)
    say(text)
    return Code.DONE


def drain(remote: Remote, wish: Wish, timeout: str | None, then: str | None) -> int:
    answer = remote.call("POST", path_of(ALL, wish.id, "drain"), {"timeout": timeout, "then": then})
    return _see_through(remote, wish, answer)


def rm(remote: Remote, wish: Wish, timeout: str | None, force: bool) -> int:
    params = {"drain_timeout": timeout, "force": "true" if force else None}
    return _see_through(remote, wish, remote.call("DELETE", path_of(ALL, wish.id), params))


def _told(answer: Answer, what: str, json: bool) -> int:
    backend = answer.json
    facts = f"{backend['url']}, pool {backend['pool']}, weight {backend['weight']}"
    until = "" if backend.get("persisted", True) else UNTIL_RESTART
    text = printable(f"{backend['id']} {what}: {facts}, {backend['status']['state']}{until}")
    say(printable_json(answer.text) if json else text)
    return Code.DONE


def _see_through(remote: Remote, wish: Wish, answer: Answer) -> int:
    """Wait for the drain as `wish` says and print how it ended. With --json the JSON is printed first."""
    try:
        seen = see_through(remote, wish.id, answer, wish.patience or 0.0)
    except KeyboardInterrupt:
        raise Failed(goes_on(wish.id), Code.INTERRUPTED) from None
    answer = seen.answer
    if wish.json and answer != GONE:
        say(printable_json(answer.text))
    drain = answer.json and answer.json["status"]["drain"]
    if wish.patience is None and drain and drain["outcome"] is None:
        text = remains(wish.id, drain)
    else:
        text = verdict(wish.id, seen if wish.patience is not None else Seen(answer))
    if not wish.json:
        say(text)
    return Code.DONE
