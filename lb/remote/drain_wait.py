"""Waiting for the end of a drain, with a progress bar on a terminal.

The balancer runs the drain. A command that stops waiting, for whatever reason, does not stop the drain.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

from lb.remote.api import Answer, Remote, path_of
from lb.remote.exits import Code, Failed
from lb.remote.running_text import summary
from lb.remote.terminal_text import printable, seconds
from lb.suggestions import plural

GONE = Answer(204, "")
SHORT_SECONDS = 0.5
LONG_SECONDS = 30.0
"""How long one call waits for the drain: a short time where a progress bar is shown."""


class Seen(NamedTuple):
    """The backend as it was last, GONE where it is removed; in a cluster how far all its balancers are."""

    answer: Answer
    everywhere: Mapping[str, Any] | None = None


def see_through(remote: Remote, backend: str, answer: Answer, patience: float) -> Seen:
    """Wait until the drain has ended, in a cluster on all balancers, at most `patience` seconds.

    `answer` is the balancer's response to the drain or removal.
    """
    due, is_shared = monotonic() + patience, "cluster" in (answer.json or {})
    with _progress(backend) as show:
        while _is_draining(answer.json) and (left := due - monotonic()) > 0:
            show(answer.json["status"]["drain"])
            answer = _look(remote, backend, min(left, SHORT_SECONDS if sys.stderr.isatty() else LONG_SECONDS))
    if not is_shared or _is_draining(answer.json):
        return Seen(answer)
    return Seen(answer, _everywhere(remote, backend, due))


def _everywhere(remote: Remote, backend: str, due: float) -> Mapping[str, Any]:
    while True:
        wait = min(max(due - monotonic(), 0.0), LONG_SECONDS)
        path = path_of("/cluster/drains", backend)
        everywhere: Mapping[str, Any] = remote.call("GET", path, {"wait": f"{wait:.3f}"}, wait=wait).json
        if everywhere["over"] or monotonic() >= due:
            return everywhere


def verdict(backend: str, seen: Seen) -> str:
    """How the drain ended, in words; Failed where it has not ended, was taken back, or it is not sure."""
    here = _verdict_here(backend, seen.answer)
    everywhere = seen.everywhere
    if everywhere is None:
        return here
    if everywhere["sure"]:
        return f"{here}, on all {plural(everywhere['members'], 'balancer')}"
    lost, left = everywhere["lost"], everywhere["left"]
    lines = [f"{here} on {everywhere['ended']} of {plural(everywhere['members'], 'balancer')}"]
    lines += [f"  {printable(name)} has {plural(count, 'request')} left" for name, count in left.items()]
    lines += [f"  {printable(name)} has not been heard, and may still use it" for name in lost]
    others = everywhere["otherwise"]
    lines += [f"  {printable(name)} has it otherwise, and may still use it" for name in others]
    raise Failed("\n".join(lines), Code.STILL_DRAINING)


def _verdict_here(backend: str, answer: Answer) -> str:
    if answer.json is None:
        return f"{printable(backend)} is removed"
    drain, state = answer.json["status"]["drain"], answer.json["admin_state"]
    if _is_draining(answer.json):
        waiting_for = map(summary, drain.get("waiting_for", ()))
        lines = [remains(backend, drain), *waiting_for, goes_on(backend)]
        raise Failed("\n".join(lines), Code.STILL_DRAINING)
    if state == "ready" or (drain is not None and drain["outcome"] == "cancelled"):
        now = "ready" if state == "ready" else f"in {printable(state)}"
        raise Failed(f"the drain of {printable(backend)} was taken back: it is {now}", Code.REFUSED)
    if drain is None:
        return f"{printable(backend)} is drained, and in {printable(state)}"
    took, count = seconds(drain["duration_seconds"]), drain["started_with"]
    if not count:
        return f"{printable(backend)} is drained: nothing was running"
    cut = f", {drain['aborted']} of them cut at the timeout" if drain["aborted"] else ""
    return f"{printable(backend)} is drained: {plural(count, 'request')} ended in {took}{cut}"


def remains(backend: str, drain: Mapping[str, Any]) -> str:
    left = drain["deadline_seconds"]
    until = "" if left is None else f", which are cut in {seconds(left)}"
    return f"{printable(backend)} is draining: {drain['remaining']} of {drain['started_with']} remain{until}"


def goes_on(backend: str) -> str:
    return f"the drain goes on; lb backends ready {printable(backend)} takes it back"


def _is_draining(backend: Any) -> bool:  # noqa: ANN401 - JSON
    if backend is None or backend["admin_state"] != "draining":
        return False
    drain = backend["status"]["drain"]
    return drain is not None and drain["outcome"] is None


def _look(remote: Remote, backend: str, wait: float) -> Answer:
    params = {"wait": "drained", "timeout": f"{wait:.3f}"}
    try:
        return remote.call("GET", path_of("/backends", backend), params, wait=wait)
    except Failed as exc:
        if exc.code is Code.NOT_THERE:
            return GONE
        raise


@contextmanager
def _progress(backend: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that shows the state of the drain; it does nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda drain: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    text = TextColumn("{task.description}", markup=False)
    with Progress(BarColumn(), text, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(drain: Mapping[str, Any]) -> None:
            total, left = drain["started_with"], drain["remaining"]
            bar.update(
                task,
                total=max(total, left),
                completed=max(total - left, 0),
                description=remains(backend, drain),
            )

        yield show
