"""The cheat sheet at / for terminals: every operation on a line, and examples to paste."""

from collections.abc import Sequence

from admin.protocol.operation import Operation
from lb.about import VERSION

EXAMPLES = """
Add a backend, drain it and see it leave:

  curl HERE/backends -d url=http://127.0.0.1:8084 -d id=web4
  curl -X POST 'HERE/backends/web4/drain?wait=30s'
  curl -X DELETE HERE/backends/web4
  curl 'HERE/backends?format=table'

Probe the backends of a pool, and change its policy, while requests flow:

  curl -X PATCH HERE/pools/default -d probe.path=/healthz -d probe.interval=5s
  curl -X PATCH HERE/pools/default -d policy=least_requests -d slow_start=30s
  curl -X PATCH HERE/pools/default -d probe=

Bodies are JSON or forms; a setting that is null, or empty in a form, is the default again. Durations are
500ms, 30s, 2m or seconds. Errors are problem+json.
"""


def cheat_sheet(operations: Sequence[Operation], host: str) -> str:
    """The text; `host` is the name or address by which the client called us, and stands in the examples."""
    lines = [f"{each.method:<7}{each.path:<32}{each.summary}" for each in operations]
    return "\n".join([f"trio-lb {VERSION}", "", *lines, EXAMPLES.replace("HERE", host)])
