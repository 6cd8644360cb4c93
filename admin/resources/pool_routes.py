"""/routes: which requests go to which pool."""

from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.views.listed_routes import RouteList, route_list
from lb.control import Control
from lb.settings.balancer_settings import Route

DEFAULT_LIMIT = 100
LIMIT = parameters.limit(DEFAULT_LIMIT, 1000)
COLUMNS = ("HOST", "PATH", "POOL")


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def show(call: Call) -> Response:
        answer = route_list(control.config, call.get(LIMIT) or DEFAULT_LIMIT)
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, map(_row, answer.items)))
        return responses.json(answer)

    return (
        Operation(
            method="GET",
            path="/routes",
            summary="which requests go to which pool, the first that matches; ?format=table",
            handler=show,
            parameters=(LIMIT, parameters.FORMAT),
            answers={200: RouteList},
            media_types=(responses.TEXT,),
        ),
    )


def _row(route: Route) -> tuple[str, str, str]:
    return route.host or "*", route.path, route.pool
