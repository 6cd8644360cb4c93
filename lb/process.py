"""A balancer as a program: its signals, its service manager, its exit code."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import msgspec
import structlog
import trio

from lb import early_signals
from lb.app import AnyBalancer, Service
from lb.config.config_source import ConfigSource
from lb.config.diff import parts
from lb.control import Control
from lb.errors import ConfigError, NotEverywhere, NotUpgraded
from lb.net.service_manager import ServiceManager
from lb.observe.audit_trail import Act
from lb.slices import freed
from lb.suggestions import plural
from lb.upgrade.arrival import Arrival
from lb.upgrade.upgrader import Upgrader

STDERR = 2
WAITING_SECONDS = 2.0
"""How often the service manager is told that a start waits."""
MORE_SECONDS = 30.0
"""How much longer the start may take each time, beyond TimeoutStartSec."""
log = structlog.get_logger()


async def serve(
    balancer: AnyBalancer,
    before: Sequence[Service] = (),
    beside: Sequence[Service] = (),
    announce: Callable[[Control], None] = lambda _control: None,
    *,
    source: ConfigSource | None = None,
    arrival: Arrival | None = None,
) -> int:
    """Run a balancer as a program until SIGTERM, SIGINT or SIGQUIT, and return the exit code.

    0: every accepted request has ended by itself. 1: some were cut at the end of the grace. 128 + n: a
    second signal, with the number n, stopped the program at once. SIGHUP reloads, except when the terminal
    that the program was started on has been closed: then it stops the program too. SIGUSR1 opens log files
    again. SIGUSR2 replaces the program by a new one, which reads `source` again. `announce` is called once
    everything listens; where it replaces another program, that one is told by `arrival`.
    """
    manager = ServiceManager()
    try:
        program = _Program(balancer, manager, arrival)
        if source is not None:
            program.upgrader = balancer.control.upgrade = Upgrader(balancer, source, manager.replaced_by)
        numbers = (*early_signals.ENDING, *early_signals.OTHERS)
        with trio.open_signal_receiver(*numbers) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(program.heed_signals, signals, nursery)
                nursery.start_soon(program.say_alive)
                nursery.start_soon(program.say_stopping)
                nursery.start_soon(program.say_waiting)
                if program.upgrader is not None:
                    nursery.start_soon(program.upgrader.run)
                async with trio.open_nursery() as inner:
                    await inner.start(partial(balancer.run, before, beside))
                    if not balancer.is_waiting:  # else it was stopped before it could serve
                        announce(balancer.control)
                    nursery.start_soon(program.started)
                nursery.cancel_scope.cancel()
    finally:
        manager.close()
    if program.killed_by:
        return 128 + program.killed_by
    log.info("stopped", cut=balancer.cut)
    return 1 if balancer.cut else 0


class _Program:
    """What the tasks beside a balancer do: heed signals, and tell the service manager how it is."""

    def __init__(self, balancer: AnyBalancer, manager: ServiceManager, arrival: Arrival | None) -> None:
        self._balancer = balancer
        self._manager = manager
        self._arrival = arrival
        self.upgrader: Upgrader | None = None
        self._had_terminal = os.isatty(STDERR)
        self._listens = trio.Event()
        self._is_hurried = False
        self.killed_by = 0

    async def started(self) -> None:
        """Everything listens. The service manager is told once it takes this process for the main one."""
        async with trio.open_nursery() as nursery:
            if self._arrival is not None:
                nursery.start_soon(self._talk, self._arrival)
                await self._arrival.replaced.wait()
            self._listens.set()
            if not self._balancer.control.stopping:
                self._manager.ready(self._status())

    async def _talk(self, arrival: Arrival) -> None:
        """With the program that was replaced. A bug in it may not end the traffic."""
        try:
            await arrival.serve()
        except Exception:
            log.exception("bug in an upgrade")

    async def heed_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Heed each signal, at first those that came before this task could."""
        for number in early_signals.take():
            self._heed(number, nursery)
        async for number in signals:
            self._heed(number, nursery)

    def _heed(self, number: int, nursery: trio.Nursery) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGUSR1:
            if not self._balancer.reopen_logs():
                log.warning("signal ignored: there is no log file to be opened again", signal=name)
        elif number == signal.SIGUSR2:
            nursery.start_soon(self._upgrade)
        elif number == signal.SIGHUP and os.isatty(STDERR) is self._had_terminal:
            nursery.start_soon(self._reload)
        elif self._balancer.control.handed_over.is_set() and not self._is_hurried:
            log.info("stopping: another program serves", signal=name)
            self._is_hurried = True  # idle connections end now; what runs has what is left of the grace
            self._balancer.hurry()
        elif self._balancer.control.stopping:
            log.info("stopping at once", signal=name)
            self.killed_by = number
            nursery.cancel_scope.cancel()
        else:
            timeouts = self._balancer.config.timeouts
            log.info("stopping", signal=name, delay=timeouts.shutdown_delay, grace=timeouts.grace)
            self._balancer.stop()

    async def _reload(self) -> None:
        """Reload once everything listens. The service manager waits until it is told of the end."""
        await self._listens.wait()
        if self._balancer.control.stopping:
            return
        self._manager.reloading()
        await reload_on_signal(self._balancer.control)
        if not self._balancer.control.stopping:
            self._manager.ready(self._status())

    async def _upgrade(self) -> None:
        """Replace the program once everything listens; what keeps it from that is logged."""
        await self._listens.wait()
        if self.upgrader is None:
            log.warning("signal ignored: this balancer was not started from a file", signal="SIGUSR2")
            return
        audit, act = self._balancer.control.audit, Act(who="signal", source="SIGUSR2", operation="upgrade")
        try:
            with audit.act(act):
                await self.upgrader()
            audit.note(act)
        except NotUpgraded as exc:
            audit.note(act, why=str(exc))

    async def say_alive(self) -> None:
        """Tell the service manager that the event loop turns, as often as it wants to hear it."""
        if self._arrival is not None:
            await self._arrival.replaced.wait()
        every = self._manager.alive_every
        while every is not None:
            self._manager.alive()
            await trio.sleep(every)

    async def say_stopping(self) -> None:
        """Tell the service manager of the end, whoever has asked for it."""
        await self._balancer.stop_wished()
        if self._balancer.control.handed_over.is_set():
            return
        timeouts = self._balancer.config.timeouts
        self._manager.stopping(f"stopping: delay {timeouts.shutdown_delay:g} s, grace {timeouts.grace:g} s")

    async def say_waiting(self) -> None:
        """Let the service manager have patience with a start that waits for the wishes of a cluster."""
        await trio.sleep(WAITING_SECONDS)
        control = self._balancer.control
        while self._balancer.is_waiting and not control.stopping:
            self._manager.starting(control.cluster.why_not_ready(), MORE_SECONDS)
            await trio.sleep(WAITING_SECONDS)

    def _status(self) -> str:
        """One line for `systemctl status`."""
        control = self._balancer.control
        backends = plural(len(control.registry.backends), "backend")
        return f"serving {backends} at {', '.join(control.listening)}"


async def reload_on_signal(control: Control) -> None:
    """Reload, write an audit entry and save the state file. Errors are logged, not raised."""
    if control.stopping:
        return
    if control.reload is None:
        log.warning("nothing to reload: this balancer was not started from a file")
        return
    act = Act(who="signal", source="SIGHUP", operation="reload")
    left, why = list[msgspec.Struct](), ""
    try:
        with control.audit.act(act):
            try:
                left = parts(await control.reload())
            except NotEverywhere as exc:
                why = str(exc)
        control.audit.note(act, why=why)
        await freed(act.backends, left)
        await control.save()
    except ConfigError as exc:
        control.audit.note(act, why=str(exc))
    except OSError as exc:
        log.error("state not saved", path=control.config.state, why=str(exc))
    except Exception:
        log.exception("bug in a reload")
