"""The parameters that choose exchanges."""

import re

from admin.input import parameters
from admin.input.moments import MOMENT, moment
from admin.protocol.operation import Parameter
from lb.observe.recorder import RECORDS

RECORDED_LIMIT = 50
RUNNING_LIMIT = 100

STATUS_PATTERN = "^[1-5]([0-9]{2}|xx)$"


def status(value: object) -> str:
    """One status, or a class of them."""
    text = parameters.text(value)
    if not re.fullmatch(STATUS_PATTERN, text):
        raise ValueError(f"expected a status such as 503, or a class such as 5xx, got {value!r}")
    return text


RUNNING = Parameter(
    "running", "those that run now, whatever other flags say", parameters.boolean, parameters.FLAG
)
SLOW = Parameter(
    "slow",
    "the slowest of each pool and minute of the last day, the slowest first",
    parameters.boolean,
    parameters.FLAG,
)
FAILED = Parameter("failed", "only those that failed", parameters.boolean, parameters.FLAG)
KINDS = Parameter(
    "kinds", "of failures alike only the newest, and how many", parameters.boolean, parameters.FLAG
)
ATTEMPT_FAILED = Parameter(
    "attempt_failed",
    "only those of which an attempt failed (on `backend`, if given), whatever the client got",
    parameters.boolean,
    parameters.FLAG,
)
STATUS = Parameter(
    "status",
    "only those with this status: 503, or 5xx",
    status,
    {"type": "string", "pattern": STATUS_PATTERN},
)
UNTIL = Parameter("until", "only those that ended until then", moment, MOMENT)
ID = Parameter(
    "id", "only those of this id: trusted clients may give it twice", parameters.text, parameters.WORD
)
BACKEND = Parameter(
    "backend", "only those that this backend was tried for, or has now", parameters.text, parameters.WORD
)
LIMIT = parameters.limit(f"{RECORDED_LIMIT}; {RUNNING_LIMIT} of those that run", RECORDS)
