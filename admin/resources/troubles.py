"""/trouble: what is wrong, in sentences, before anybody has looked for it."""

from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.views.trouble_json import TroubleList, TroubleView, trouble_list
from lb.control import Control

COLUMNS = ("SINCE", "KIND", "WHAT", "NEXT")


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def show(call: Call) -> Response:
        answer = trouble_list(control)
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, map(_row, answer.items)))
        return responses.json(answer)

    return (
        Operation(
            method="GET",
            path="/trouble",
            summary="what is wrong now, in sentences, and what to do next; ?format=table",
            handler=show,
            parameters=(parameters.FORMAT,),
            answers={200: TroubleList},
            media_types=(responses.TEXT,),
            counts=True,
        ),
    )


def _row(trouble: TroubleView) -> tuple[str, ...]:
    return trouble.since, trouble.kind, trouble.sentence, trouble.advice
