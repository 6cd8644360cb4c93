"""Moments as a query may name them: how long ago, or a time; and the parameter `since`, which has one."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from admin.input import parameters
from admin.protocol.operation import Parameter
from lb.control import Control

AGO = r"[0-9]{1,5}(\.[0-9]{1,3})?( ?(ms|s|m|h))?"
HOURS = "([01][0-9]|2[0-3]):[0-5][0-9]"
TIME = rf"[T ]{HOURS}(:[0-5][0-9](\.[0-9]{{1,6}})?)?(Z|[+-]{HOURS})?"
MONTH, DAY = "[12][0-9]{3}-(0[1-9]|1[0-2])", "(0[1-9]|[12][0-9]|3[01])"
MOMENT_PATTERN = f"(?P<ago>{AGO})|(?P<month>{MONTH})-(?P<day>{DAY})(?P<time>{TIME})?"
MOMENT = {
    "type": "string",
    "pattern": f"^({AGO}|{MONTH}-{DAY}({TIME})?)$",
    "examples": ["1h", "2026-01-31T03:00Z"],
}


class Moment(NamedTuple):
    """A time in seconds since 1970, or how many seconds ago that was."""

    at: float | None
    ago: float = 0.0

    def of(self, control: Control) -> float:
        """The time on the registry's clock."""
        now = control.registry.now()
        return now - self.ago if self.at is None else now + self.at - control.wall(now)


def moment(value: object) -> Moment:
    """How long ago, or a time in ISO 8601, which is UTC unless it says another zone.

    The days behind the end of a month are those of the next one, so what fits the schema is a time.
    """
    text = parameters.text(value)
    match = re.fullmatch(MOMENT_PATTERN, text, re.ASCII)
    if match is None:
        raise ValueError(
            f"expected a duration such as 1h, or a time such as 2026-01-31T03:00Z, got {value!r}"
        )
    if match["ago"]:
        return Moment(None, parameters.seconds()(match["ago"]))
    at = datetime.fromisoformat(f"{match['month']}-01{match['time'] or ''}")
    at = (at if at.tzinfo else at.replace(tzinfo=UTC)) + timedelta(days=int(match["day"]) - 1)
    return Moment(at.timestamp())


SINCE = Parameter("since", "only those that ended since then: 1h ago, or a time", moment, MOMENT)
