"""/info: the version, the host and the uptime of this balancer, and the token of the caller."""

from quart import Response, g

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.security.keyring import ANONYMOUS_READER
from admin.views.balancer_info import Info, balancer_info
from lb.control import Control


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def info(call: Call) -> Response:
        return responses.json(balancer_info(control, g.get("token") or ANONYMOUS_READER))

    return (
        Operation(
            method="GET", path="/info", summary="version and uptime", handler=info, answers={200: Info}
        ),
    )
