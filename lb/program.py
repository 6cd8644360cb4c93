"""The program that `lb run` runs: a balancer of one process or of several, admin, and the demo's backends.

This is the only module that knows both the balancer and admin. Admin is imported when it is needed, beside
the traffic.
"""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

import structlog
import trio

from lb.app import AnyBalancer, Balancer, Service
from lb.banner import banner
from lb.collector import Collector
from lb.config.config_source import ConfigSource
from lb.config.inheritance import Inheritance
from lb.config.start_check import before_start
from lb.config.tls_check import admin_notes
from lb.control import Control
from lb.early_signals import is_end_wished
from lb.errors import ConfigError
from lb.net.descriptors import raise_limit
from lb.observe import log_level
from lb.observe.access_log import AccessLog
from lb.observe.program_log import configure
from lb.process import serve
from lb.settings.balancer_settings import DEMO_PORTS, Config
from lb.slices import THREAD_SECONDS
from lb.upgrade.arrival import Arrival, is_arrival
from lb.wall_clock import wall_clock

log = structlog.get_logger()


def run_program(config: Config, source: ConfigSource, say: Callable[[str], None]) -> int:
    """Run the balancer, and admin unless it is switched off; returns the exit code of `lb.process.serve`.

    `say` is called with the banner once everything listens.
    """
    configure(json=not sys.stderr.isatty())
    log_level.use(config.log_level)
    sys.setswitchinterval(THREAD_SECONDS)
    if is_end_wished():
        return 0
    try:
        return trio.run(_serve, config, source, say)
    except ConfigError as exc:
        raise source.located(exc) from None
    except BaseExceptionGroup as group:
        error = _only_error_in(group)
        raise source.located(error) if isinstance(error, ConfigError) else error from group


def _only_error_in(error: BaseException) -> BaseException:
    """The error in a group of one, however deep, so that an address in use is one line on stderr."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        [error] = error.exceptions
    return error


async def _serve(config: Config, source: ConfigSource, say: Callable[[str], None]) -> int:
    raise_limit()
    token = before_start(config)
    for note in admin_notes(config.admin):
        log.warning("admin", note=note)
    arrival = await Arrival.meet() if is_arrival() else None
    balancer = _balancer(config, source, None if arrival is None else arrival.inheritance)
    admin = Admin(token, () if arrival is None else arrival.admin_sockets(config.admin))
    collector = Collector()
    collector.begin()

    def announce(control: Control) -> None:
        collector.settle()
        urls = [backend.spec.url for backend in control.registry.backends.values()]
        say(banner(config, control.listening, admin.address, urls, control.tls_listening))

    before: list[Service] = [_serve_demo] if config.demo else []
    if arrival is not None:
        before.append(partial(_take_over, arrival, balancer, admin))
    beside = [admin.serve] if config.admin.enabled else []
    return await serve(balancer, before, beside, announce, source=source, arrival=arrival)


def _balancer(config: Config, source: ConfigSource, inheritance: Inheritance | None) -> AnyBalancer:
    """The balancer of the configuration; what only several processes need is imported for them."""
    count = len(os.sched_getaffinity(0)) if config.workers == "auto" else config.workers
    if count > 1:
        from lb.workers.keeper import Keeper

        return Keeper(config, count, source, inheritance)
    return Balancer(config, AccessLog.of(config.access_log, wall=wall_clock()), source, inheritance)


async def _take_over(
    arrival: Arrival,
    balancer: AnyBalancer,
    admin: "Admin",
    control: Control,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[object],
) -> None:
    """Become ready, and wait until this program is to serve in place of another."""
    prepare = partial(admin.prepare_all, control) if control.config.admin.enabled else _nothing
    await arrival.become_ready(balancer, prepare, control)
    task_status.started()


async def _serve_demo(control: Control, stop: trio.Event, *, task_status: trio.TaskStatus[object]) -> None:
    from lb.demo import serve_demo

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_demo, DEMO_PORTS)
        task_status.started()
        await stop.wait()
        nursery.cancel_scope.cancel()


async def _nothing() -> None:
    """Prepare nothing, where there is no admin side."""


class Admin:
    """The admin side as a service; `address` is where it listens, None before it does.

    `inherited` are the descriptors of its sockets in an upgrade.
    """

    def __init__(self, token: str | None, inherited: Sequence[int]) -> None:
        self._token = token
        self._inherited = inherited
        self._listeners: Sequence[trio.SocketListener] | None = None
        self._app: object = None
        self.address: str | None = None

    async def prepare(self, control: Control) -> None:
        """Import it, and bind its address; OSError, in one line, where that cannot be."""
        # In a thread: this import takes longest, and clients are already being served.
        server = await trio.to_thread.run_sync(import_module, "admin.server")
        self._listeners = await server.bound(control, self._inherited)

    async def prepare_all(self, control: Control) -> None:
        """Make the app too, so that a bug in it ends an upgrade before it begins."""
        await self.prepare(control)
        self._app = await import_module("admin.server").made(control, self._token)

    async def serve(
        self, control: Control, stop: trio.Event, *, task_status: trio.TaskStatus[object]
    ) -> None:
        if self._listeners is None:
            await self.prepare(control)
        server = import_module("admin.server")
        async with trio.open_nursery() as nursery:
            serve = partial(server.supervised, control, self._token, self._listeners, self._app, stop=stop)
            self.address = await nursery.start(serve)
            task_status.started()
