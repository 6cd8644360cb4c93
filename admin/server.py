"""The admin service: hypercorn's connections on listeners of ours, restarted after a crash.

    supervised ── serve_admin ─┬─ accepting     one per listener; ends first
                               ├─ ticking       reads the counters, publishes events; ends with them
                               └─ connections   one per client, each with a task for its request

Only the handling of one connection is hypercorn's. The accept loop and the sockets are ours, and give:

- An end. Hypercorn's sends are shielded and have no deadline, so a client that stops reading would hold the
  whole program. Here each send has a limit, and the exit takes GRACE_SECONDS and one such limit at most.
- A listener that outlives a crash. The port is bound once, so it cannot be lost, and a request that comes
  during a restart waits in the backlog.
- An answer that arrives even if the client is still sending: the connection reads on for a moment before it
  is closed.
"""

import logging
from collections.abc import Sequence
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from admin.application import create_app
from admin.event_publisher import EventPublisher
from admin.transport.accepting import Accepting, Reserve
from admin.transport.admission import Admission, most_connections
from admin.transport.admitted import admitted
from admin.transport.binding import address, bind, close
from admin.transport.bounded_stream import BoundedStream
from admin.transport.hypercorn_connection import Connection, settings, shielded
from lb.control import Control
from lb.observe.event_feed import MOST_READERS

GRACE_SECONDS = 2.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
"""After a service that ran for so long, the pause before a restart is the first one again."""

log = logging.getLogger(__name__)


async def supervised(
    control: Control,
    token: str | None,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the admin API until `stop`; report the address once it is bound.

    OSError, in one line, where it cannot be bound. After that a crash is logged and counted, and the service
    starts again after a pause, which doubles with each crash; the caller does not see it.
    """
    listen = control.config.admin.listen
    bound = await bind(listen)
    reserve = Reserve()
    try:
        task_status.started(address(bound[0]))
        await _serve_again_and_again(control, token, bound, reserve, stop)
    finally:
        reserve.close()
        for listener in bound:
            close(listener, listen)


async def _serve_again_and_again(
    control: Control,
    token: str | None,
    bound: Sequence[trio.SocketListener],
    reserve: Reserve,
    stop: trio.Event,
) -> None:
    publisher = EventPublisher(control)
    pause = FIRST_PAUSE
    while not stop.is_set():
        started = trio.current_time()
        try:
            await serve_admin(control, token, bound, publisher, reserve, stop=stop)
        except Exception:
            was_steady = trio.current_time() - started > STEADY_SECONDS
            pause = FIRST_PAUSE if was_steady else pause
            control.metrics.admin_restarts += 1
            log.exception("the admin service crashed; traffic goes on; next start in %g s", pause)
            with trio.move_on_after(pause):
                await stop.wait()
            pause = min(2 * pause, LONGEST_PAUSE)


async def serve_admin(
    control: Control,
    token: str | None,
    bound: Sequence[trio.SocketListener],
    publisher: EventPublisher,
    reserve: Reserve,
    *,
    stop: trio.Event,
) -> None:
    """Answer on these listeners, which stay open, until `stop` is set and the last answer is sent.

    At `stop` the streams of events end at once; requests that still wait after GRACE_SECONDS are cut.
    """
    # readers of events may hold half of the connections; the rest is for other requests
    control.feed.open(min(MOST_READERS, most_connections() // 2))
    context = WorkerContext(None)
    app = shielded(create_app(control, token))
    async with trio.open_nursery() as connections:
        admission = Admission()
        serve = partial(_connection, app, settings(), context, admission)
        async with trio.open_nursery() as accepting:
            loop = Accepting(reserve, admission, connections, serve)
            for listener in bound:
                accepting.start_soon(loop.run, listener)
            accepting.start_soon(publisher.run)
            await stop.wait()
            accepting.cancel_scope.cancel()
        control.feed.close("stopping")
        await context.terminated.set()  # ends idle connections
        connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS


async def _connection(
    app: ASGIFramework,
    config: HypercornConfig,
    context: WorkerContext,
    admission: Admission,
    stream: trio.SocketStream,
) -> None:
    """Serve one connection, and log its crash; `Accepting` closes the stream in any case."""
    try:
        with admission.place() as place:
            if place is None:
                return
            wrapped = ASGIWrapper(admitted(app, place))
            bounded = BoundedStream(stream, place.heard)
            # hypercorn's annotation is SSLStream, but any stream with these methods will do
            connection = Connection(wrapped, config, context, ConnectionState({}), bounded)  # type: ignore[arg-type]
            connection.place = place
            await connection.run()
    except Exception:
        log.exception("a connection to the admin service crashed")
