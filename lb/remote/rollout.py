"""`lb rollout`: one backend after the other drains, a command is run for it, and it comes back.

It stops at the first one that does not come back, says how it stands and what brings it back, and has not
touched those behind it. So a bad release takes one backend out of service, and never a pool. That a command
has ended well does not say that the server runs: probes of after it do, and no client meets it before. A pool
without a probe is not begun with, unless that is wanted.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lb.remote.api import Answer, Remote, path_of
from lb.remote.backend_commands import ALL, UNCHECKED, until_ready
from lb.remote.drain_wait import see_through, verdict
from lb.remote.exits import Code, Failed
from lb.remote.fresh_probes import Patience, Probe, probe_of, until_well
from lb.remote.terminal_text import printable, say
from lb.suggestions import did_you_mean, plural

IDS = ("{id}", "{url}", "{pool}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The command, for which backends, and how long a drain and a return may take, in seconds.

    `{id}`, `{url}` and `{pool}` in the command stand for those of the backend, as do LB_BACKEND, LB_URL and
    LB_POOL in its environment. `timeout` is when what still runs is cut, as text, None for the pool's own.
    `keep` backends of the pool must stay available. `unchecked` allows pools without a probe.
    """

    command: Sequence[str]
    pool: str | None
    only: Sequence[str]
    timeout: str | None
    patience: float
    back_within: float
    keep: int
    unchecked: bool


def rollout(remote: Remote, wish: Rollout) -> int:
    """Go through the backends, those that are out already left out."""
    backends = _chosen(remote, wish)
    probes = _probes(remote, wish, backends)
    for number, backend in enumerate(backends):
        say(f"{number + 1} of {len(backends)}: {printable(backend['id'])}")
        rest = backends[number + 1 :]
        try:
            answer = _begin(remote, wish, backend)
        except Failed as exc:
            raise Failed(f"{exc}\nstopped; untouched: {_names(backends[number:])}", exc.code) from exc
        try:
            _see_out(remote, wish, backend, answer)
            _see_back(remote, wish, backend["id"], probes[backend["pool"]])
        except (Failed, KeyboardInterrupt) as exc:
            raise _stopped(exc, backend, rest) from exc
    say(f"done: {plural(len(backends), 'backend')}")
    return Code.DONE


def _chosen(remote: Remote, wish: Rollout) -> Sequence[Mapping[str, Any]]:
    there = remote.call("GET", ALL, {"pool": wish.pool}).json["items"]
    known = [each["id"] for each in there]
    if unknown := [name for name in wish.only if name not in {*known}]:
        meant = did_you_mean(unknown[0], known)
        raise Failed(printable(f"there is no backend {unknown[0]}{meant}"), Code.NOT_THERE)
    chosen = [each for each in there if not wish.only or each["id"] in wish.only]
    found = [each for each in chosen if each["admin_state"] == "ready"]
    for each in chosen:
        if each["admin_state"] != "ready":
            say(printable(f"{each['id']} is left out: it is {each['admin_state']}"))
    if not found:
        raise Failed("there is no backend that is ready", Code.NOT_THERE)
    return found


def _probes(
    remote: Remote, wish: Rollout, backends: Sequence[Mapping[str, Any]]
) -> Mapping[str, Probe | None]:
    """The probe of each pool; Failed where one has none, unless that is wanted. Nothing is touched before."""
    probes = {pool: probe_of(remote, pool) for pool in dict.fromkeys(each["pool"] for each in backends)}
    missing = [pool for pool, probe in probes.items() if probe is None]
    if missing and not wish.unchecked:
        raise Failed(
            f"pool {printable(missing[0])} has no probe, so nothing would show whether a backend is back\n"
            "give it one, such as probe.path = '/healthz', or go on blindly with --unchecked",
            Code.REFUSED,
        )
    return probes


def _begin(remote: Remote, wish: Rollout, backend: Mapping[str, Any]) -> Answer:
    """Begin its drain; Failed where that is refused, and then nothing has changed."""
    params = {"timeout": wish.timeout, "keep_available": wish.keep or None}
    return remote.call("POST", path_of(ALL, backend["id"], "drain"), params)


def _see_out(remote: Remote, wish: Rollout, backend: Mapping[str, Any], answer: Answer) -> None:
    """From the drain until the command has ended."""
    name = backend["id"]
    say(f"  {verdict(name, see_through(remote, name, answer, wish.patience))}")
    _run(wish.command, backend)


def _see_back(remote: Remote, wish: Rollout, name: str, probe: Probe | None) -> None:
    """From there until it takes requests again; it gets none before probes have passed."""
    patience = Patience(wish.back_within)
    if probe is not None:
        until_well(remote, name, probe, patience)
    remote.call("POST", path_of(ALL, name, "ready"))
    until_ready(remote, name, patience)
    say(f"  {printable(name)} {'takes requests' if probe is not None else UNCHECKED}")


def _run(command: Sequence[str], backend: Mapping[str, Any]) -> None:
    values = [backend["id"], backend["url"], backend["pool"]]
    words = [_filled(word, values) for word in command]
    environment = {**os.environ, **dict(zip(("LB_BACKEND", "LB_URL", "LB_POOL"), values, strict=True))}
    try:
        code = subprocess.run(words, env=environment, check=False).returncode
    except OSError as exc:
        raise Failed(f"{printable(words[0])}: {exc.strerror}", Code.MISUSED) from exc
    if code:
        raise Failed(f"{printable(' '.join(words))} ended with exit code {code}")


def _filled(word: str, values: Sequence[str]) -> str:
    for place, value in zip(IDS, values, strict=True):
        word = word.replace(place, value)
    return word


def _names(backends: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(printable(each["id"]) for each in backends)


def _stopped(
    exc: BaseException, backend: Mapping[str, Any], untouched: Sequence[Mapping[str, Any]]
) -> Failed:
    """Why it stopped, how it stands, and the way back."""
    name = printable(backend["id"])
    is_ours = isinstance(exc, Failed)
    lines = [
        str(exc) if is_ours else "interrupted",
        f"stopped at {name}; lb backends ready {name} puts it back",
    ]
    if untouched:
        lines.append(f"untouched: {_names(untouched)}; go on with --only for each of them")
    return Failed("\n".join(lines), exc.code if isinstance(exc, Failed) else Code.INTERRUPTED)
