"""The parameters that choose exchanges."""

from admin.input import parameters
from admin.protocol.operation import Parameter
from lb.observe.recorder import RECORDS

RECORDED_LIMIT = 50
RUNNING_LIMIT = 100

RUNNING = Parameter(
    "running", "those that run now, whatever `failed` and `kinds` say", parameters.boolean, parameters.FLAG
)
FAILED = Parameter("failed", "only those that failed", parameters.boolean, parameters.FLAG)
KINDS = Parameter(
    "kinds", "of failures alike only the newest, and how many", parameters.boolean, parameters.FLAG
)
ID = Parameter(
    "id", "only those of this id: trusted clients may give it twice", parameters.text, parameters.WORD
)
BACKEND = Parameter(
    "backend", "only those that this backend was tried for, or has now", parameters.text, parameters.WORD
)
LIMIT = parameters.limit(f"{RECORDED_LIMIT}; {RUNNING_LIMIT} of those that run", RECORDS)
