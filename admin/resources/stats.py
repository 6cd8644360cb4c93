"""/stats: rates, latencies and states of this moment, and of the last five minutes."""

from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.views.stats_json import Stats, described
from lb.control import Control
from lb.slices import freed


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def stats(call: Call) -> Response:
        numbers = await described(control, with_history=True)
        answer = await responses.long_json(numbers, {"backends": numbers.backends})
        await freed(numbers.backends)
        return answer

    return (
        Operation(
            method="GET",
            path="/stats",
            summary="rates, latencies and states of now, and of five minutes",
            handler=stats,
            answers={200: Stats},
            counts=True,
        ),
    )
