"""To wait for the end of a drain, with a bar on a terminal that counts what remains.

The drain belongs to the balancer: whoever stops waiting here, for whatever reason, leaves it running.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from lb.phrases import plural
from lb.remote.api import Answer, Remote, path_of
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, seconds

GONE = Answer(204, "")
SHORT_SECONDS = 0.5
LONG_SECONDS = 30.0
"""As long as one request waits: briefly where somebody watches."""


def see_through(remote: Remote, id: str, answer: Answer, patience: float) -> Answer:
    """The backend as it is when its drain has ended or our patience has; GONE where it is not there any more.

    `answer` is what the balancer said to the wish.
    """
    due = monotonic() + patience
    with _progress(id) as show:
        while _is_draining(answer.json) and (left := due - monotonic()) > 0:
            show(answer.json["status"]["drain"])
            answer = _look(remote, id, min(left, SHORT_SECONDS if sys.stderr.isatty() else LONG_SECONDS))
    return answer


def verdict(id: str, answer: Answer) -> str:
    """What became of the drain, in words; Failed where it has not ended, or ended otherwise than wished."""
    if answer.json is None:
        return f"{printable(id)} is removed"
    drain, state = answer.json["status"]["drain"], answer.json["admin_state"]
    if _is_draining(answer.json):
        raise Failed(f"{remains(id, drain)}\n{goes_on(id)}", Code.STILL_DRAINING)
    if state == "ready":
        raise Failed(f"the drain of {printable(id)} was taken back: it is ready", Code.REFUSED)
    if drain is None:
        return f"{printable(id)} is drained, and in {printable(state)}"
    took, count = seconds(drain["duration_seconds"]), drain["started_with"]
    cut = f", {drain['aborted']} of them cut at the timeout" if drain["aborted"] else ""
    return f"{printable(id)} is drained: {plural(count, 'request')} ended in {took}{cut}"


def remains(id: str, drain: Mapping[str, Any]) -> str:
    left = drain["deadline_seconds"]
    until = "" if left is None else f", which are cut in {seconds(left)}"
    return f"{printable(id)} is draining: {drain['remaining']} of {drain['started_with']} remain{until}"


def goes_on(id: str) -> str:
    return f"the drain goes on; lb backends ready {printable(id)} takes it back"


def _is_draining(backend: Any) -> bool:  # noqa: ANN401 - JSON
    if backend is None or backend["admin_state"] != "draining":
        return False
    drain = backend["status"]["drain"]
    return drain is not None and drain["outcome"] is None


def _look(remote: Remote, id: str, wait: float) -> Answer:
    params = {"wait": "drained", "timeout": f"{wait:.3f}"}
    try:
        return remote.call("GET", path_of("/backends", id), params, wait=wait)
    except Failed as exc:
        if exc.code is Code.NOT_THERE:
            return GONE
        raise


@contextmanager
def _progress(id: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What to call with each news of the drain; it draws nothing where nobody watches."""
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
                task, total=max(total, left), completed=max(total - left, 0), description=remains(id, drain)
            )

        yield show
