"""/trouble: what is wrong, in sentences, before anybody has looked for it; and what was, and is over."""

from math import inf

from quart import Response

from admin.input import parameters
from admin.input.moments import SINCE
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.views.ended_trouble_json import EndedTroubleList, EndedTroubleView, ended_trouble_list
from admin.views.trouble_json import TroubleList, TroubleView, trouble_list
from lb.control import Control

COLUMNS = ("SINCE", "KIND", "WHAT", "NEXT")
ENDED_COLUMNS = ("BEGAN", "ENDED", "KIND", "WHAT")


def operations(control: Control) -> tuple[Operation, ...]:
    """What is wrong, and what was."""

    async def show(call: Call) -> Response:
        answer = trouble_list(control)
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, map(_row, answer.items)))
        return responses.json(answer)

    async def show_ended(call: Call) -> Response:
        since = call.get(SINCE)
        answer = ended_trouble_list(control, -inf if since is None else since.of(control))
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(ENDED_COLUMNS, map(_ended_row, answer.items)))
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
        Operation(
            method="GET",
            path="/trouble/ended",
            summary="what was wrong and is over, the last first; ?since=12h, ?format=table",
            handler=show_ended,
            parameters=(SINCE, parameters.FORMAT),
            answers={200: EndedTroubleList},
            media_types=(responses.TEXT,),
        ),
    )


def _row(trouble: TroubleView) -> tuple[str, ...]:
    return trouble.since, trouble.kind, trouble.sentence, trouble.advice


def _ended_row(trouble: EndedTroubleView) -> tuple[str, ...]:
    return trouble.began, trouble.ended, trouble.kind, trouble.sentence
