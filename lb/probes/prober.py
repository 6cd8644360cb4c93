"""One probe, from connecting to its result, within one timeout.

A probe fails for anything that the backend does wrong, and the result says so in words; it never raises. A
result says nothing about the backend where the fault is another's: this process was out of file descriptors
or ports, no resolver said where the backend is, or the event loop was late, when the response may have come
in time. A success counts even if it is read late.
"""

from typing import NamedTuple

import trio

from lb.core.health.probe_verdict import Check
from lb.errors import NameUnanswered, NoPortLeft, TooManyDescriptors
from lb.net.addresses import is_name
from lb.net.resolver import Names
from lb.probes.http_probe import HttpProbe
from lb.probes.loop_delay import LoopDelay
from lb.probes.probe_target import ProbeFailed, ProbeTarget, Secure, connect_to

WHY_LIMIT = 200


class ProbeResult(NamedTuple):
    """How a probe ended.

    It counts unless `was_late` (the event loop was) or `was_ours` (no descriptors, no ports, or no resolver).
    """

    check: Check
    was_late: bool = False
    was_ours: bool = False


async def probe_once(target: ProbeTarget, names: Names, delay: LoopDelay, secure: Secure) -> ProbeResult:
    """Probe the target once, within its timeout."""
    began, run = trio.current_time(), ProbeRun(target, names, secure)
    is_ok, was_ours = False, False
    try:
        with trio.fail_after(target.probe.timeout):
            why = await run.run()
        is_ok = True
    except trio.TooSlowError:
        why = f"{run.awaited} in {target.probe.timeout:g} s"
        was_ours = run.waits_for_a_name
    except ProbeFailed as exc:
        why = str(exc)
    except (TooManyDescriptors, NoPortLeft, NameUnanswered) as exc:
        why, was_ours = str(exc), True
    if not is_ok and not run.is_connected:
        names.refresh(target.host)  # the name may have another address by now
    now = trio.current_time()
    was_late = not is_ok and not was_ours and delay.was_late_since(began)
    return ProbeResult(Check(is_ok, why[:WHY_LIMIT], now - began, now), was_late, was_ours)


class ProbeRun:
    """Connects, asks if the kind is http, and closes the connection however it ends."""

    def __init__(self, target: ProbeTarget, names: Names, secure: Secure) -> None:
        self.is_connected = False
        self._target = target
        self._names = names
        self._secure = secure
        self._http = HttpProbe(target)

    @property
    def awaited(self) -> str:
        """What has not come yet, for the message of a timeout."""
        if self.waits_for_a_name:
            return "its name was not resolved"
        return self._http.awaited if self.is_connected else "no connection"

    @property
    def waits_for_a_name(self) -> bool:
        """It has not come so far as to connect."""
        host, port = self._target.host, self._target.probed_port
        return not self.is_connected and is_name(host) and self._names.known(host, port) is None

    async def run(self) -> str:
        """How the probe passed, in words. Raises ProbeFailed, or an error that does not count."""
        wire = await connect_to(self._target, self._names, self._secure)
        self.is_connected = True
        try:
            return "connected" if self._target.probe.kind == "tcp" else await self._http.run(wire)
        finally:
            wire.close()
