"""What the log says of connections that were refused for their PROXY header, and how seldom."""

from typing import Any

import structlog

from lb.observe.counters import Metrics
from lb.proxy.client_side.refused_headers import MOST_ADDRESSES, TELL_AGAIN_SECONDS, RefusedHeaders

LISTENER = "127.0.0.1:80"


def logged(*refusals: tuple[str, float]) -> tuple[list[dict[str, Any]], int]:
    """The lines for these addresses and times, and the count."""
    metrics = Metrics()
    refused = RefusedHeaders(metrics)
    with structlog.testing.capture_logs() as lines:
        for address, now in refusals:
            refused.add(LISTENER, (address, f"{address}:1"), "junk came", now)
    return [dict(line) for line in lines], metrics.listener(LISTENER).rejected["proxy_header"]


def test_an_address_is_told_again_with_how_many_there_were_since() -> None:
    later = TELL_AGAIN_SECONDS
    lines, count = logged(("a", 0), ("a", 1), ("b", 2), ("a", later - 0.1), ("a", later), ("a", later + 1))
    assert count == 6
    first = {"event": "no usable PROXY header", "log_level": "warning", "listener": LISTENER}
    assert lines == [
        {**first, "peer": "a:1", "why": "junk came"},
        {**first, "peer": "b:1", "why": "junk came"},
        {**first, "peer": "a:1", "why": "junk came", "refused_since_last_told": 2},
    ]


def test_a_network_of_addresses_does_not_fill_the_log() -> None:
    many = [(f"2001:db8::{number:x}", number / 1e6) for number in range(10_000)]
    lines, count = logged(*many, ("a", 1), ("a", TELL_AGAIN_SECONDS + 1))
    assert (len(lines), count) == (MOST_ADDRESSES + 1, 10_002)
    assert lines[-1]["peer"] == "a:1"
