"""Active checks: one task for each backend whose pool has a probe, asking again and again whether it works.

    probes ─┬─ pulse     notices when the event loop was late
            └─ prober    one per backend; begins with it, ends when it goes or has another aim

A prober is on the tree below `Probes.run`, and its scope is cancelled when its backend leaves, goes into
maintenance (nobody wants to hear of it then, as in HAProxy), or is to be probed in another way or at another
address; then a new one begins. A draining backend is probed on, since it may come back. The first probes are
spread over one interval, so that many backends are never asked in step.

What counts and what does not: a probe fails for whatever the backend does, in words, and never by an
exception. It says nothing where the fault was ours: when we are out of descriptors, and when the event loop
was late while a *failed* probe was out (stopped and continued, moved to another machine, held up by
somebody's code), for then nobody was there to hear the answer. That one is thrown away and asked again at
once; without this, whoever was stopped for a minute comes back to a house in which every backend is down.
Being late is a matter of the monotonic clock. A machine that sleeps stops it too, and so makes nobody late.
Success is believed even if it is heard late. All who overslept their pause together are spread anew.

The judging is not here: a result goes to `Registry.checked`, and its words from there to people.
"""

from collections.abc import Callable
from math import inf
from random import random
from typing import NamedTuple

import structlog
import trio

from lb.config.pool_settings import Probe, codes
from lb.core.backend import AdminState, Backend
from lb.core.health.probe_verdict import Check
from lb.core.registry import Event, PoolEvent, Registry
from lb.errors import BadResponse, NameNotResolved, TooManyDescriptors
from lb.http1.body import BadBody, reader_for
from lb.http1.fast_head import read_response
from lb.http1.head import ResponseHead
from lb.net.connect import OUT_OF_DESCRIPTORS, connect
from lb.net.resolver import Address, Names, literal
from lb.net.timers import LATE_SECONDS
from lb.net.wire import Wire

PULSE_SECONDS = 0.1
HEAD_LIMIT = 64 * 1024
MOST_FIELDS = 100
MOST_INTERIM = 20
WHY_LIMIT = 200
SWITCHING_PROTOCOLS = 101
ANSWER_BEGINS = b"HTTP/1."
AT_ONCE = frozenset(("ready", "changed"))
"""An operator's wishes for one backend, after which nobody wants to wait for the first probe."""

log = structlog.get_logger()


class Failed(Exception):
    """The probe failed by the backend's doing; the message says how, for people."""


class Aim(NamedTuple):
    """Who is probed, and how. A backend that gets another one gets another prober."""

    probe: Probe
    host: str
    port: int

    @property
    def probed_port(self) -> int:
        return self.probe.port or self.port


class Result(NamedTuple):
    """How one probe ended, and what that says: about the backend, or only about us and a late event loop."""

    check: Check
    was_late: bool = False
    was_ours: bool = False


class Prober(NamedTuple):
    """The task of one backend, as whoever ends it sees it."""

    aim: Aim
    scope: trio.CancelScope


class Probes:
    """All active checks. They run in `run`, which follows the registry: no other call begins or ends one."""

    def __init__(self, registry: Registry, names: Names, chance: Callable[[], float] = random) -> None:
        self._registry = registry
        self._names = names
        self._chance = chance
        self._pulse = Pulse()
        self._probers: dict[Backend, Prober] = {}
        self._marked: dict[Backend, bool] = {}  # who may need another prober, and whether it is urgent
        self._news = trio.Event()
        self._lacks_descriptors = False
        registry.subscribe(self._on_event, self._on_pool_event)

    async def check(self, backend: Backend) -> Check:
        """Probe it now, in maintenance too, and judge it by that; `why` says so where it does not count.

        Raises LookupError, with a sentence, where there is no probe to send.
        """
        aim = self._aim(backend)
        if aim is None:
            raise LookupError(f"pool {backend.pool!r} has no probe")
        result = await self._probe(aim)
        self._judge(backend, aim, result)
        if result.was_late:
            return result.check._replace(why=f"{result.check.why} (not counted: this balancer was late)")
        return result.check

    async def run(self) -> None:
        """Keep one prober for each backend that is to have one, until cancelled."""
        self._marked.update(dict.fromkeys(self._registry.backends.values(), False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pulse.run)
            while True:
                self._news = trio.Event()
                marked, self._marked = self._marked, {}
                for backend, is_urgent in marked.items():
                    self._settle(backend, is_urgent, nursery)
                await self._news.wait()

    def _on_event(self, event: Event) -> None:
        is_urgent = event.kind in AT_ONCE or self._marked.get(event.backend, False)
        self._marked[event.backend] = is_urgent
        self._news.set()

    def _on_pool_event(self, event: PoolEvent) -> None:
        self._marked = dict.fromkeys(event.pool.backends, False) | self._marked
        self._news.set()

    def _aim(self, backend: Backend) -> Aim | None:
        if backend.removed:  # and its pool may be, too
            return None
        probe = self._registry.pools[backend.pool].settings.probe
        return None if probe is None else Aim(probe, backend.host, backend.port)

    def _settle(self, backend: Backend, is_urgent: bool, nursery: trio.Nursery) -> None:
        """End a prober that has lost its aim, and begin the one that is wanted."""
        aim = None if backend.admin_state is AdminState.MAINTENANCE else self._aim(backend)
        there = self._probers.get(backend)
        if there is not None and there.aim != aim:
            self._probers.pop(backend).scope.cancel()
        if aim is not None and backend not in self._probers:
            prober = self._probers[backend] = Prober(aim, trio.CancelScope())
            self._pulse.is_wanted.set()
            nursery.start_soon(self._keep_probing, backend, prober, is_urgent)

    # -- one prober ------------------------------------------------------------------------------------

    async def _keep_probing(self, backend: Backend, prober: Prober, is_urgent: bool) -> None:
        """Ends with its scope, which `_settle` cancels."""
        with prober.scope:
            if not is_urgent:
                await self._rest(self._chance() * self._pause(backend, prober.aim))
            while True:
                if not await self._was_late(backend, prober.aim):
                    await self._rest(self._pause(backend, prober.aim))

    async def _was_late(self, backend: Backend, aim: Aim) -> bool:
        """Probe and judge; whether it was for nothing because we were late. A bug of ours ends nobody."""
        try:
            result = await self._probe(aim)
            self._judge(backend, aim, result)
        except Exception:
            log.exception("bug in a probe", backend=backend.id)
            return False
        return result.was_late

    def _pause(self, backend: Backend, aim: Aim) -> float:
        health = backend.health  # None: its pool has no probe any more, and we shall soon be told
        return aim.probe.interval if health is None else health.pause(self._chance())

    async def _rest(self, seconds: float) -> None:
        """Let so much time pass. If it was far more, everybody overslept, and is not to go on in step."""
        due = trio.current_time() + seconds
        await trio.sleep_until(due)
        if trio.current_time() - due > LATE_SECONDS:
            await trio.sleep(self._chance() * seconds)

    def _judge(self, backend: Backend, aim: Aim, result: Result) -> None:
        """Tell the registry, unless the result says nothing, or nothing about what is to be probed by now."""
        if result.was_ours and not self._lacks_descriptors:
            log.warning("probes do not count", backend=backend.id, why=result.check.why)
        self._lacks_descriptors = result.was_ours
        if not result.was_ours and not result.was_late and self._aim(backend) == aim:
            self._registry.checked(backend, result.check)

    async def _probe(self, aim: Aim) -> Result:
        """One probe, from connecting to its result, within the one timeout."""
        began, question = trio.current_time(), Question(aim, self._names)
        is_ok, was_ours = False, False
        try:
            with trio.fail_after(aim.probe.timeout):
                why = await question.ask()
            is_ok = True
        except trio.TooSlowError:
            why = f"{question.awaited} in {aim.probe.timeout:g} s"
        except Failed as exc:
            why = str(exc)
        except TooManyDescriptors as exc:
            why, was_ours = str(exc), True
        if not is_ok and not question.is_connected and literal(aim.host, aim.port) is None:
            self._names.refresh()
        now = trio.current_time()
        was_late = not is_ok and not was_ours and self._pulse.was_late_since(began)
        return Result(Check(is_ok, why[:WHY_LIMIT], now - began, now), was_late, was_ours)


class Pulse:
    """Whether the event loop was late: a task that should wake every tenth of a second sees when it did not.

    Who asks may wake before that task does, so whoever asks looks too.
    """

    def __init__(self) -> None:
        self.is_wanted = trio.Event()
        self._due = inf
        self._late_at = -inf

    async def run(self) -> None:
        """Sleep until somebody is interested, and look from then on."""
        await self.is_wanted.wait()
        while True:
            self._due = trio.current_time() + PULSE_SECONDS
            await trio.sleep_until(self._due)
            self._look()

    def was_late_since(self, moment: float) -> bool:
        self._look()
        return self._late_at > moment

    def _look(self) -> None:
        """Notice a delay once, so that who asks again at once is not late again."""
        now = trio.current_time()
        if now - self._due > LATE_SECONDS:
            self._late_at, self._due = now, now + PULSE_SECONDS


class Question:
    """What one probe says to a backend and hears from it.

    `ask` owns its one socket and closes it however it ends; whoever asks sets the time for it, and can say by
    `awaited` for what it was too short.
    """

    def __init__(self, aim: Aim, names: Names) -> None:
        self._aim = aim
        self._probe = aim.probe
        self._names = names
        self.is_connected = False
        self.awaited = "no connection"

    async def ask(self) -> str:
        """How it passed, in words. Raises Failed, or TooManyDescriptors, which is not the backend's doing."""
        wire = await self._connect()
        self.is_connected = True
        try:
            return "connected" if self._probe.kind == "tcp" else await self._exchange(wire)
        except (BadResponse, BadBody) as exc:
            raise Failed(f"not HTTP: {str(exc).removeprefix('the answer is not HTTP: ')}") from exc
        except OSError as exc:
            raise Failed(_in_words(exc)) from exc
        finally:
            wire.close()

    async def _connect(self) -> Wire:
        try:
            # Names are resolved for the ports of backends, of which that of a probe need not be one.
            known = await self._names.addresses(self._aim.host, self._aim.port)
            return Wire(await connect([_at(self._aim.probed_port, address) for address in known]))
        except NameNotResolved as exc:
            raise Failed(str(exc)) from exc
        except OSError as exc:
            if exc.errno in OUT_OF_DESCRIPTORS:
                raise TooManyDescriptors("this balancer is out of file descriptors") from exc
            raise Failed(_in_words(exc)) from exc

    async def _exchange(self, wire: Wire) -> str:
        self.awaited = "no answer"
        await wire.send(request(self._aim))
        head, data = await self._receive_final_head(wire)
        if head.status not in codes(self._probe.status):
            raise Failed(f"status {head.status}, expected {', '.join(self._probe.status)}")
        if self._probe.body is not None:
            self.awaited = "the body did not come"
            body = await self._receive_body(wire, head, data)
            if not has_text(body.decode(errors="replace"), self._probe.body):
                raise Failed(f"the body has no {self._probe.body!r}")
        return f"ok {head.status}"

    async def _receive_final_head(self, wire: Wire) -> tuple[ResponseHead, bytes]:
        data = b""
        for _ in range(MOST_INTERIM):
            head, data = await self._receive_head(wire, data)
            if not head.is_interim or head.status == SWITCHING_PROTOCOLS:
                return head, data
        raise BadResponse(f"more than {MOST_INTERIM} interim answers")

    async def _receive_head(self, wire: Wire, data: bytes) -> tuple[ResponseHead, bytes]:
        """The next head, and what came behind it."""
        searched = 0
        while (end := data.find(b"\r\n\r\n", searched)) < 0 and len(data) <= HEAD_LIMIT:
            if data and not data.startswith(ANSWER_BEGINS[: len(data)]):
                raise BadResponse("the answer does not begin with HTTP/1")
            searched = max(0, len(data) - 3)
            more = await wire.receive()
            if not more:
                raise Failed(f"closed the connection {'in the head of its' if data else 'without an'} answer")
            data += more
        if not 0 <= end <= HEAD_LIMIT - 4:
            raise BadResponse(f"the head of the answer is longer than {HEAD_LIMIT} bytes")
        return read_response(data[: end + 4], self._probe.method.encode(), MOST_FIELDS), data[end + 4 :]

    async def _receive_body(self, wire: Wire, head: ResponseHead, data: bytes) -> bytes:
        """The first `body_bytes` of the content, or all of it; nothing is waited for behind that."""
        reader, size = reader_for(head.length), self._probe.body_bytes
        content = reader.feed(data)
        while not reader.done and len(content) < size:
            data = await wire.receive()
            if data:
                content += reader.feed(data)
            elif not reader.ends_with_connection():
                raise Failed("closed the connection in the middle of its answer")
        return content[:size]


def request(aim: Aim) -> bytes:
    """The head of a probe's request; it has no body, and wants no second one on its connection."""
    probe = aim.probe
    lines = [f"{probe.method} {probe.path} HTTP/1.1", f"Host: {probe.host or _authority(aim)}"]
    if "user-agent" not in {name.lower() for name in probe.fields}:
        lines.append("User-Agent: lb-probe")
    lines += [f"{name}: {value}" for name, value in probe.fields.items()]
    return "\r\n".join((*lines, "Connection: close", "", "")).encode()


def has_text(body: str, wanted: str) -> bool:
    """Are the parts of `wanted` between its stars there, in order? It takes as long as the body is."""
    at = 0
    for part in wanted.split("*"):
        found = body.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _authority(aim: Aim) -> str:
    host = f"[{aim.host}]" if ":" in aim.host else aim.host
    return host if aim.probed_port == 80 else f"{host}:{aim.probed_port}"


def _at(port: int, address: Address) -> Address:
    family, (host, _, *rest) = address
    return family, (host, port, *rest)


def _in_words(exc: OSError) -> str:
    words = exc.strerror or str(exc)
    return words[:1].lower() + words[1:]
