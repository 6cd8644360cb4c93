"""`lb top`: rates, latencies and states as a table, updated once a second.

On a terminal it fills the screen. Keys: `q` ends it, `s` sorts by the next thing, `/` begins a filter that
Enter ends and Escape takes back.
"""

import sys
from _thread import interrupt_main
from collections.abc import Iterator, Mapping
from typing import Any

from lb.remote.api import Remote
from lb.remote.exits import Code
from lb.remote.status import first_lines, headline
from lb.remote.terminal_text import columns, cut, painted, printable_json, quantile, say, seconds
from lb.remote.top_view import View, table
from lb.suggestions import plural

TONES = {"down": "red", "ejected": "red", "trial": "yellow", "checking": "yellow", "draining": "blue"}
ENTER, ESCAPE, BACKSPACE = "\r\n", "\x1b", "\x7f\b"


def top(remote: Remote, view: View, once: bool, json: bool) -> int:
    """Show the table until interrupted, or once."""
    if once:
        answer = remote.call("GET", "/stats")
        say(printable_json(answer.text) if json else "\n".join(frame(remote, answer.json, view)))
    elif sys.stdout.isatty() and not json:
        _live(remote, view)
    else:
        for event in remote.events("stats"):
            say(printable_json(event.text) if json else "\n".join([*frame(remote, event.json, view), ""]))
    return Code.DONE


class Screen:
    """A live table and the keys that steer it."""

    def __init__(self, remote: Remote, view: View) -> None:
        self._remote = remote
        self._view = view
        self._is_typing = False

    def pressed(self, key: str) -> None:
        """A key has come, in another thread than the one that draws."""
        if self._is_typing:
            self._typed(key)
        elif key == "q":
            interrupt_main()
        elif key == "s":
            self._view.next_sort()
        elif key == "/":
            self._is_typing, self._view.find = True, ""

    def _typed(self, key: str) -> None:
        if key in ENTER:
            self._is_typing = False
        elif key == ESCAPE:
            self._is_typing, self._view.find = False, ""
        elif key in BACKSPACE:
            self._view.find = self._view.find[:-1]
        elif key.isprintable():
            self._view.find += key

    def lines(self, stats: Mapping[str, Any], width: int, height: int) -> list[str]:
        """What fits, the line of keys last."""
        self._view.width, self._view.height = width, height - 1
        return [*frame(self._remote, stats, self._view, has_colour=True), self._foot()]

    def _foot(self) -> str:
        if self._is_typing:
            return f"/{self._view.find}_"
        found = f"  only {self._view.find!r}" if self._view.find else ""
        return f"q quit  s sort ({self._view.sort})  / filter{found}"


def _live(remote: Remote, view: View) -> None:
    from rich.live import Live
    from rich.text import Text

    from lb.remote.keys import keys

    screen = Screen(remote, view)
    with Live(screen=True, auto_refresh=False, vertical_overflow="crop") as live, keys(screen.pressed):
        for event in remote.events("stats"):
            size = live.console.size
            text = Text.from_ansi("\n".join(screen.lines(event.json, size.width, size.height)))
            text.no_wrap, text.overflow = True, "crop"
            live.update(text, refresh=True)


def frame(remote: Remote, stats: Mapping[str, Any], view: View, *, has_colour: bool = False) -> Iterator[str]:
    """The lines of one table: totals, what is wrong, workers, pools that queue or panic, backends."""
    above = [*_above(remote, stats)]
    for line, tone in above:
        yield painted(line if view.width is None else cut(line, view.width), tone if has_colour else "")
    left = None if view.height is None else max(3, view.height - len(above))
    for line, state in table(stats, view, left):
        yield painted(line, TONES.get(state, "") if has_colour else "")


def _above(remote: Remote, stats: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((line, "") for line in headline(remote, stats))
    yield from ((line, "red") for line in first_lines(stats.get("trouble", [])))
    yield from ((line, "") for line in columns(_worker(worker) for worker in stats.get("workers", ())))
    waiting = (_pool(pool) for pool in stats["pools"] if pool["queued"] or pool["panicking"])
    yield from ((line, "yellow") for line in columns(waiting))
    yield "rates and latencies are of ten seconds", "dim"


def _worker(worker: Mapping[str, Any]) -> tuple[str, ...]:
    is_well = worker["state"] == "serving"
    memory, restarts = worker["memory_bytes"], worker["restarts"]
    return (
        f"worker {worker['worker']}",
        worker["state"] if is_well else f"{worker['state']} for {seconds(worker['state_seconds'])}",
        f"{worker['requests_per_second']:.1f} req/s",
        plural(worker["connections"], "client"),
        f"late p99 {quantile(worker['loop_lag_p99_seconds'])}",
        "" if memory is None else f"{memory / 1e6:.0f} MB",
        plural(restarts, "restart") if restarts else "",
    )


def _pool(pool: Mapping[str, Any]) -> tuple[str, str]:
    note = ", panicking: too few are fit" if pool["panicking"] else ""
    return f"pool {pool['name']}", f"{pool['queued']} queued{note}"
