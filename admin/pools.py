"""/pools: the groups of backends and who waits for them."""

from quart import Response

from admin import parameters as given
from admin import render, replies
from admin.operation import Ask, Operation
from admin.problems import Problem
from lb.control import Control
from lb.core.registry import NotThere

COLUMNS = ("POOL", "POLICY", "BACKENDS", "AVAILABLE", "IN_FLIGHT", "WAITING")


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with pools."""
    views = Pools(control)
    return (
        Operation(
            method="GET",
            path="/pools",
            says="list pools",
            view=views.list,
            parameters=(given.FORMAT,),
            answers={200: render.PoolList},
        ),
        Operation(
            method="GET",
            path="/pools/{name}",
            says="one pool",
            view=views.show,
            answers={200: render.PoolView},
            problems=(404,),
        ),
    )


class Pools:
    """The views."""

    def __init__(self, control: Control) -> None:
        self.registry = control.registry

    async def list(self, ask: Ask) -> Response:
        items = [render.pool(pool) for pool in self.registry.pools.values()]
        if ask.get(given.FORMAT) is given.Format.TABLE:
            return replies.text(replies.table(COLUMNS, [_row(view) for view in items]))
        return replies.json(render.PoolList(items=items))

    async def show(self, ask: Ask, name: str) -> Response:
        try:
            return replies.json(render.pool(self.registry.pool(name)))
        except NotThere as exc:
            raise Problem("not-found", str(exc)) from exc


def _row(view: render.PoolView) -> tuple[object, ...]:
    totals = view.totals
    return view.name, view.policy, totals.backends, totals.available, totals.in_flight, view.queue.length
