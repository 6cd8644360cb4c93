"""/handshakes: which TLS handshakes with clients were refused, and why."""

from collections.abc import Sequence

from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation, Parameter
from admin.views.handshake_json import MOST_KEPT, HandshakeList, RefusedHandshake, handshakes
from lb.control import Control

LIMIT = parameters.limit(MOST_KEPT, MOST_KEPT)
REFUSED = Parameter(
    "refused", "with those that were refused (true); else counts alone", parameters.boolean, parameters.FLAG
)
COLUMNS = ("TIME", "PEER", "LISTENER", "SERVER NAME", "REASON", "WHY")


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def show(call: Call) -> Response:
        most = 0 if call.get(REFUSED) is False else call.get(LIMIT) or MOST_KEPT
        answer = handshakes(None if control.tls is None else control.tls.handshakes, most)
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, map(_row, answer.items)))
        return responses.json(answer)

    return (
        Operation(
            method="GET",
            path="/handshakes",
            summary="TLS handshakes that were refused, and why; ?format=table",
            handler=show,
            parameters=(REFUSED, LIMIT, parameters.FORMAT),
            answers={200: HandshakeList},
            media_types=(responses.TEXT,),
            counts=True,
        ),
    )


def _row(refused: RefusedHandshake) -> Sequence[object]:
    return (
        refused.at,
        refused.peer,
        refused.listener,
        refused.server_name or "-",
        refused.reason,
        refused.sentence,
    )
