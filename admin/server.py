"""The admin service: hypercorn's connections on listeners of ours, restarted after a crash.

    supervised ── serve_admin ─┬─ accepting     one per listener; ends first
                               ├─ ticking       reads the counters, publishes events; ends with them
                               └─ connections   one per client, each with a task for its request

Only the handling of one connection is hypercorn's. The accept loop and the sockets are ours, and give:

- An end. Hypercorn's sends are shielded and have no deadline, so a client that stops reading would hold the
  whole program. Here each send has a limit, and the exit takes GRACE_SECONDS and one such limit at most.
- A listener that outlives a crash. The port is bound once, so it cannot be lost, and a request that comes
  during a restart waits in the backlog.
- TLS with certificates that are swapped, and handshakes that explain themselves (`admin.transport.door`).
- An answer that arrives even if the client is still sending: the connection reads on for a moment before it
  is closed.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from admin.application import create_app
from admin.event_publisher import EventPublisher
from admin.security.authentication import SECURED
from admin.transport.accepting import Accepting, Reserve
from admin.transport.admission import Admission, Place, most_connections
from admin.transport.admitted import admitted
from admin.transport.binding import address, bind, close
from admin.transport.bounded_stream import BoundedStream, SecuredStream
from admin.transport.hypercorn_connection import Connection, settings, shielded
from lb.control import Control
from lb.observe.event_feed import MOST_READERS
from lb.settings.balancer_settings import speaks_tls

if TYPE_CHECKING:
    from admin.transport.door import Door

GRACE_SECONDS = 2.0
LAST_CHANCE_SECONDS = 1.0
"""How long a connection may still send a request when another program has taken over."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
"""After a service that ran for so long, the pause before a restart is the first one again."""

log = logging.getLogger(__name__)


async def bound(control: Control, inherited: Sequence[int] = ()) -> Sequence[trio.SocketListener]:
    """The listeners of the admin API, for `supervised`; OSError, in one line, where they cannot be bound.

    `inherited` are the descriptors of those of a program that this one replaces.
    """
    return await bind(control.config.admin.listen, inherited)


async def made(control: Control, token: str | None) -> ASGIFramework:
    """The app, for `supervised`."""
    # In a thread, for it takes long, and clients are already being served.
    return shielded(await trio.to_thread.run_sync(create_app, control, token))


async def supervised(
    control: Control,
    token: str | None,
    listeners: Sequence[trio.SocketListener] | None = None,
    app: ASGIFramework | None = None,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the admin API until `stop`; report the address once it is bound and the service starts.

    OSError, in one line, where it cannot be bound. After that a crash is logged and counted, and the service
    starts again after a pause, which doubles with each crash; the caller does not see it, not even where the
    app cannot be made. Listeners that were made by `bound` are closed in the end; their sockets' file stays
    where another program has taken over.
    """
    listen = control.config.admin.listen
    if listeners is None:
        listeners = await bound(control)
    control.admin_sockets[:] = [each.socket.fileno() for each in listeners]
    reserve, make = Reserve(), partial(made, control, token)
    try:
        async with trio.open_nursery() as nursery:
            starts = trio.Event()
            nursery.start_soon(_serve_again_and_again, control, app, make, listeners, reserve, starts, stop)
            await starts.wait()
            if speaks_tls(control.config.admin):
                control.tls_listening.append(address(listeners[0]))
            task_status.started(address(listeners[0]))
    finally:
        reserve.close()
        for listener in listeners:
            if control.handed_over.is_set():
                listener.socket.close()
            else:
                close(listener, listen)


async def _serve_again_and_again(
    control: Control,
    app: ASGIFramework | None,
    make: Callable[[], Awaitable[ASGIFramework]],
    listeners: Sequence[trio.SocketListener],
    reserve: Reserve,
    starts: trio.Event,
    stop: trio.Event,
) -> None:
    publisher = EventPublisher(control)
    pause = FIRST_PAUSE
    while not (stop.is_set() or control.handed_over.is_set()):
        started = trio.current_time()
        try:
            app = app or await make()
            starts.set()
            await serve_admin(control, app, listeners, publisher, reserve, stop=stop)
        except Exception:
            was_steady = trio.current_time() - started > STEADY_SECONDS
            pause = FIRST_PAUSE if was_steady else pause
            control.metrics.admin_restarts += 1
            log.exception("the admin service crashed; traffic goes on; next start in %g s", pause)
            starts.set()
            with trio.move_on_after(pause):
                await stop.wait()
            pause = min(2 * pause, LONGEST_PAUSE)
    starts.set()  # where it was to stop before it could start


async def serve_admin(
    control: Control,
    app: ASGIFramework,
    listeners: Sequence[trio.SocketListener],
    publisher: EventPublisher,
    reserve: Reserve,
    *,
    stop: trio.Event,
) -> None:
    """Answer on these listeners, which stay open, until `stop` is set and the last answer is sent.

    At `stop` the streams of events end at once; requests that still wait after GRACE_SECONDS are cut. Where
    another program takes over, the listeners are closed then, and each connection ends with its next answer.
    """
    # readers of events may hold half of the connections; the rest is for other requests
    control.feed.open(min(MOST_READERS, most_connections() // 2))
    context = WorkerContext(None)
    async with trio.open_nursery() as connections:
        admission = Admission()
        serve = partial(_connection, app, settings(), context, admission, _door(control, listeners))
        async with trio.open_nursery() as accepting:
            loop = Accepting(reserve, admission, connections, serve)
            for listener in listeners:
                accepting.start_soon(loop.run, listener)
            accepting.start_soon(publisher.run)
            accepting.start_soon(_cancel_when, stop, accepting.cancel_scope)
            accepting.start_soon(_cancel_when, control.handed_over, accepting.cancel_scope)
        if control.handed_over.is_set():
            for listener in listeners:
                listener.socket.close()  # connections that come are the other program's
        control.feed.close("stopping")
        if control.handed_over.is_set():
            await trio.sleep(LAST_CHANCE_SECONDS)
            await stop.wait()  # a call that waits for a drain may go on as long as the program
        await context.terminated.set()  # ends idle connections
        connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _door(control: Control, listeners: Sequence[trio.SocketListener]) -> "Door | None":
    """Where operators shake hands; None where they speak plain HTTP. It is imported where they do not."""
    if not speaks_tls(control.config.admin):
        return None
    from admin.transport.door import Door

    assert control.tls is not None
    return Door(control, control.tls, address(listeners[0]))


async def _connection(
    app: ASGIFramework,
    config: HypercornConfig,
    context: WorkerContext,
    admission: Admission,
    door: "Door | None",
    stream: trio.SocketStream,
) -> None:
    """Serve one connection, and log its crash; `Accepting` closes the stream in any case."""
    try:
        with admission.place() as place:
            if place is None:
                return
            if door is None:
                await _serve(app, config, context, place, BoundedStream(stream, place.heard), {})
                return
            async with door.entered(stream, place) as entered:
                if entered is not None:
                    bounded = SecuredStream(entered.stream, place.heard)
                    await _serve(app, config, context, place, bounded, {SECURED: entered.secured})
    except Exception:
        log.exception("a connection to the admin service crashed")


async def _serve(
    app: ASGIFramework,
    config: HypercornConfig,
    context: WorkerContext,
    place: Place,
    stream: BoundedStream,
    known: dict[str, object],
) -> None:
    """Serve one connection that is open; `known` is what its requests know of it."""
    wrapped = ASGIWrapper(admitted(app, place))
    # hypercorn's annotation is SSLStream, but any stream with these methods will do
    connection = Connection(wrapped, config, context, ConnectionState(known), stream)  # type: ignore[arg-type]
    connection.place = place
    await connection.run()
