"""What each worker may have of the limits of the whole."""

import pytest

from lb.config.loader import build
from lb.workers.shares import for_worker


@pytest.mark.parametrize(("workers", "each"), [(1, 10), (2, 5), (3, 4), (16, 1)])
def test_a_part_is_even_and_never_nothing(workers: int, each: int) -> None:
    config = build(
        {"limits": {"connections": 10, "connections_per_address": 10, "connections_per_certificate": 10}}
    )
    limits = for_worker(config, workers, "info").limits
    assert (limits.connections, limits.connections_per_address) == (each, each)
    assert limits.connections_per_certificate == each
    assert 0 <= limits.held * workers - config.limits.held < workers


def test_no_limit_stays_none_and_all_else_is_the_same() -> None:
    config = build({"timeouts": {"grace": 7}})
    part = for_worker(config, 4, "debug")
    assert part.limits.connections_per_address == config.limits.connections_per_address is None
    assert part.timeouts == config.timeouts
    assert part.pools == {}
