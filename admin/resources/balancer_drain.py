"""/drain: take this balancer itself out, without losing a request.

While it drains /readyz is 503, so the load balancer in front of it stops sending requests. Requests that
still come are served, and each answer has `Connection: close`. The drain belongs to the balancer, not to the
call that began it: an interrupted curl leaves it running, a second POST finds it, and DELETE takes it back.
"""

from typing import Literal

import msgspec
import trio
from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import Problem
from admin.security.authorization import demand_scope
from admin.views.event_json import balancer_event
from admin.views.times import timestamp
from lb.config.token_scope import Scope
from lb.control import Control
from lb.core.drain import Drain

LOOK_SECONDS = 0.05
EXIT = Parameter("exit", "then stop, gracefully", parameters.boolean, parameters.FLAG)


class BalancerDrain(msgspec.Struct, kw_only=True):
    """Whether this balancer drains; it is drained while it drains and nothing is in flight."""

    state: Literal["ready", "draining", "drained"]
    started: str | None
    duration_seconds: float
    started_with: int
    remaining: int
    connections: int
    stopping: bool


def operations(control: Control) -> tuple[Operation, ...]:
    """Look at the drain, begin it, take it back."""

    async def show(call: Call) -> Response:
        return responses.json(describe(control))

    async def begin(call: Call) -> Response:
        await call.take_posted_parameters()
        wait, is_exit = call.get(parameters.WAIT), call.get(EXIT)
        if is_exit:
            demand_scope(call, Scope.ADMIN, "?exit=true")
        if control.drain is None:
            control.feed.publish("balancer", balancer_event(control, "draining"))
        drain = control.begin_drain()
        await nothing_in_flight(control, drain, wait or 0.0)
        if drain.outcome is not None:
            raise Problem("conflict", "the drain was taken back")
        if is_exit:
            control.audit.changed("balancer", "draining", "stopping")
            control.stop()
        return responses.json(describe(control), 202 if control.in_flight or is_exit else 200)

    async def take_back(call: Call) -> Response:
        if control.end_drain() is not None:
            control.feed.publish("balancer", balancer_event(control, "ready"))
        return responses.json(describe(control))

    return (
        Operation(
            method="GET",
            path="/drain",
            summary="whether this balancer is being taken out, and what is in flight",
            handler=show,
            counts=True,
            answers={200: BalancerDrain},
        ),
        Operation(
            method="POST",
            path="/drain",
            summary="take this balancer out: /readyz 503, traffic is served; ?wait=30s&exit=true",
            handler=begin,
            counts=True,
            parameters=(parameters.WAIT, EXIT),
            posted_parameters=True,
            answers={200: BalancerDrain, 202: BalancerDrain},
            problems=(409,),
            needs=Scope.DRAIN,
        ),
        Operation(
            method="DELETE",
            path="/drain",
            summary="take it back: ready again",
            handler=take_back,
            needs=Scope.DRAIN,
            answers={200: BalancerDrain},
        ),
    )


def describe(control: Control) -> BalancerDrain:
    """How far the drain is."""
    drain, remaining = control.drain, control.in_flight
    now = control.registry.now()
    return BalancerDrain(
        state="ready" if drain is None else "draining" if remaining else "drained",
        started=None if drain is None else timestamp(control.wall(drain.started)),
        duration_seconds=0.0 if drain is None else round(drain.duration(now), 3),
        started_with=0 if drain is None else drain.started_with,
        remaining=remaining,
        connections=sum(counts.open for counts in control.metrics.listeners.values()),
        stopping=control.stopping,
    )


async def nothing_in_flight(control: Control, drain: Drain, seconds: float) -> None:
    """Wait until nothing is in flight or the drain is taken back, at the longest for so many seconds.

    It polls: an event would cost every request something, and calls that wait here are rare.
    """
    with trio.move_on_after(seconds):
        while control.in_flight and drain.outcome is None:
            await trio.sleep(LOOK_SECONDS)
            await control.workers.refresh()
