"""/log-level: from which level on the program's log has lines, changed while it runs."""

from contextlib import suppress
from typing import Any, get_args

import msgspec
from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.mistakes import Mistake
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import invalid
from lb.control import Control
from lb.settings.balancer_settings import LogLevel

CONFIGURED = "configured"
"""The word for the level of the configuration."""
LEVELS = get_args(LogLevel)
WORDS = (*LEVELS, CONFIGURED)
LONGEST_SECONDS = 7 * 86400.0
LEVEL: Parameter[Any] = Parameter(
    "level",
    f"the new one; `{CONFIGURED}`: back to that of the file",
    parameters.word(WORDS),
    {"type": "string", "enum": [*WORDS]},
)
FOR = Parameter(
    "for",
    "back to the configured one after this time",
    parameters.seconds(LONGEST_SECONDS),
    parameters.DURATION,
)


class LogLevelView(msgspec.Struct, kw_only=True):
    """The level of all processes. `seconds_left` is null where it stays until it is changed."""

    level: LogLevel
    configured: LogLevel
    seconds_left: float | None


def operations(control: Control) -> tuple[Operation, ...]:
    """Look at it, change it."""

    async def show(call: Call) -> Response:
        return responses.json(_view(control))

    async def change(call: Call) -> Response:
        await call.take_posted_parameters()
        level, seconds = call.get(LEVEL), call.get(FOR)
        if level is None:
            raise invalid(Mistake(parameter=LEVEL.name, detail=f"is missing; one of {', '.join(WORDS)}"))
        before = control.log_levels.level
        control.log_levels.choose(None if level == CONFIGURED else level, seconds)
        control.audit.changed("log_level", before, control.log_levels.level)
        with suppress(OSError):  # nothing of it is in the state file, but this waits for all processes
            await control.save()
        return responses.json(_view(control))

    return (
        Operation(
            method="GET",
            path="/log-level",
            summary="from which level on the program's log has lines",
            handler=show,
            answers={200: LogLevelView},
        ),
        Operation(
            method="PUT",
            path="/log-level",
            summary="change it in all processes; ?level=debug&for=5m, level=configured: back",
            handler=change,
            parameters=(LEVEL, FOR),
            posted_parameters=True,
            answers={200: LogLevelView},
        ),
    )


def _view(control: Control) -> LogLevelView:
    levels = control.log_levels
    left = levels.seconds_left
    return LogLevelView(
        level=levels.level,
        configured=levels.configured,
        seconds_left=None if left is None else round(left, 3),
    )
