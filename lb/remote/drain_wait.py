"""Waiting for the end of a drain, with a progress bar on a terminal.

The balancer runs the drain. A command that stops waiting, for whatever reason, does not stop the drain.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from lb.remote.api import Answer, Remote, path_of
from lb.remote.exits import Code, Failed
from lb.remote.running_text import summary
from lb.remote.terminal_text import printable, seconds
from lb.suggestions import plural

GONE = Answer(204, "")
SHORT_SECONDS = 0.5
LONG_SECONDS = 30.0
"""How long one call waits for the drain: a short time where a progress bar is shown."""


def see_through(remote: Remote, backend: str, answer: Answer, patience: float) -> Answer:
    """Wait until the drain has ended, at most `patience` seconds; returns the backend as it is then.

    `answer` is the balancer's response to the drain or removal. GONE where the backend is removed.
    """
    due = monotonic() + patience
    with _progress(backend) as show:
        while _is_draining(answer.json) and (left := due - monotonic()) > 0:
            show(answer.json["status"]["drain"])
            answer = _look(remote, backend, min(left, SHORT_SECONDS if sys.stderr.isatty() else LONG_SECONDS))
    return answer


def verdict(backend: str, answer: Answer) -> str:
    """How the drain ended, in words; Failed where it has not ended or was taken back."""
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
