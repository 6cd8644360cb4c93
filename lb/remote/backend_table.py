"""The table of `lb backends`: their states, their counters since they were added, and what is wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

from lb.remote.fitted_table import fitted

NUMBERS = ("WEIGHT", "IN_FLIGHT", "REQUESTS", "5XX", "FAILED")
HEAD = ("ID", "POOL", "URL", "STATE", *NUMBERS, "SOURCE", "WHY")
DROPPED = ("SOURCE", "URL", "POOL", "WEIGHT", "IN_FLIGHT", "REQUESTS")
"""What is left out first where the terminal is narrow."""


def table(backends: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """The lines of the table; all of it without a `width`."""
    return fitted(HEAD, [*map(_cells, backends)], width, DROPPED)


def _cells(backend: Mapping[str, Any]) -> tuple[object, ...]:
    status = backend["status"]
    return (
        *(backend[name] for name in ("id", "pool", "url")),
        status["state"],
        backend["weight"],
        *(status[name] for name in ("in_flight", "requests_total", "responses_5xx_total", "failures_total")),
        backend["source"],
        status["why"],
    )
