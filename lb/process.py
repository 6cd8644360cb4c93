"""A balancer as a program: its signals, its service manager, its exit code."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import structlog
import trio

from lb import early_signals
from lb.app import Balancer, Service
from lb.control import Control
from lb.errors import ConfigError
from lb.net.service_manager import ServiceManager
from lb.observe.audit_trail import Act
from lb.suggestions import plural

STDERR = 2
UNUSED_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""Other servers reopen log files or upgrade at these, so scripts send them; the first one does so here."""

log = structlog.get_logger()


async def serve(
    balancer: Balancer,
    before: Sequence[Service] = (),
    beside: Sequence[Service] = (),
    announce: Callable[[Control], None] = lambda _control: None,
) -> int:
    """Run a balancer as a program until SIGTERM, SIGINT or SIGQUIT, and return the exit code.

    0: every accepted request has ended by itself. 1: some were cut at the end of the grace. 128 + n: a
    second signal, with the number n, stopped the program at once. SIGHUP reloads, except when the terminal
    that the program was started on has been closed: then it stops the program too. SIGUSR1 opens log files
    again. SIGUSR2 is logged and ignored. `announce` is called once everything listens.
    """
    manager = ServiceManager()
    try:
        program = _Program(balancer, manager)
        numbers = (*early_signals.ENDING, *early_signals.OTHERS)
        with trio.open_signal_receiver(*numbers) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(program.heed_signals, signals, nursery)
                nursery.start_soon(program.say_alive)
                nursery.start_soon(program.say_stopping)
                async with trio.open_nursery() as inner:
                    await inner.start(partial(balancer.run, before, beside))
                    announce(balancer.control)
                    program.started()
                nursery.cancel_scope.cancel()
    finally:
        manager.close()
    if program.killed_by:
        return 128 + program.killed_by
    log.info("stopped", cut=balancer.cut)
    return 1 if balancer.cut else 0


class _Program:
    """What the tasks beside a balancer do: heed signals, and tell the service manager how it is."""

    def __init__(self, balancer: Balancer, manager: ServiceManager) -> None:
        self._balancer = balancer
        self._manager = manager
        self._had_terminal = os.isatty(STDERR)
        self._listens = trio.Event()
        self.killed_by = 0

    def started(self) -> None:
        """Everything listens."""
        self._listens.set()
        if not self._balancer.control.stopping:
            self._manager.ready(self._status())

    async def heed_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Heed each signal, at first those that came before this task could."""
        for number in early_signals.take():
            self._heed(number, nursery)
        async for number in signals:
            self._heed(number, nursery)

    def _heed(self, number: int, nursery: trio.Nursery) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGUSR1 and self._balancer.reopen_logs():
            return
        if number in UNUSED_SIGNALS:
            log.warning("signal ignored: there is nothing to do for it here", signal=name)
        elif number == signal.SIGHUP and os.isatty(STDERR) is self._had_terminal:
            nursery.start_soon(self._reload)
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

    async def say_alive(self) -> None:
        """Tell the service manager that the event loop turns, as often as it wants to hear it."""
        every = self._manager.alive_every
        while every is not None:
            self._manager.alive()
            await trio.sleep(every)

    async def say_stopping(self) -> None:
        """Tell the service manager of the end, whoever has asked for it."""
        await self._balancer.stop_wished()
        timeouts = self._balancer.config.timeouts
        self._manager.stopping(f"stopping: delay {timeouts.shutdown_delay:g} s, grace {timeouts.grace:g} s")

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
    try:
        with control.audit.act(act):
            await control.reload()
        control.audit.note(act)
        await control.save()
    except ConfigError as exc:
        control.audit.note(act, why=str(exc))
    except OSError as exc:
        log.error("state not saved", path=control.config.state, why=str(exc))
    except Exception:
        log.exception("bug in a reload")
