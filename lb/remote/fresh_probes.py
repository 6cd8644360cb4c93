"""Whether a backend works now, seen by probes that begin when they are asked for.

The verdict of the probes may be older than what has just been done to the server: one that has died since is
up until `fall` probes have failed. So who brings a backend back asks for probes, and believes it when as many
in a row have passed as make a backend up.
"""

import time
from collections.abc import Mapping
from time import monotonic
from typing import Any

from lb.remote.api import Remote, path_of
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, seconds

MOST_PAUSE_SECONDS = 0.5
Probe = Mapping[str, Any]


class Patience:
    """So many `seconds` for several waits together, from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._due = monotonic() + seconds

    @property
    def left(self) -> float:
        return self._due - monotonic()


def probe_of(remote: Remote, pool: str) -> Probe | None:
    """The settings of the pool's probe; None where it has none."""
    probe: Probe | None = remote.call("GET", path_of("/pools", pool)).json["settings"]["probe"]
    return probe


def until_well(remote: Remote, backend: str, probe: Probe, patience: Patience) -> None:
    """Probe it until `rise` probes in a row have passed; Failed where they have not in this time."""
    passed = 0
    while True:
        last = _probed(remote, backend, probe)
        passed = passed + 1 if last["ok"] else 0
        if passed >= probe["rise"]:
            return
        if (left := patience.left) <= 0:
            told = f"{passed} of {probe['rise']} probes in a row have passed, the last one: {last['why']}"
            text = f"{backend} is not back after {seconds(patience.seconds)}: {told}"
            raise Failed(printable(text), Code.STILL_DRAINING)
        pause = min(probe["changing_interval"], MOST_PAUSE_SECONDS, left)
        time.sleep(pause)  # noqa: TID251 - there is no event loop in this process


def _probed(remote: Remote, backend: str, probe: Probe) -> Mapping[str, Any]:
    answer = remote.call("POST", path_of("/backends", backend, "check"), wait=probe["timeout"])
    last: Mapping[str, Any] = answer.json["status"]["health"]["last"]
    return last
