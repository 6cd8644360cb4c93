"""How long a connection to a backend may be kept."""

from math import inf

from lb.http1.keep_alive import KeepAlive
from lb.proxy.backend_side.terms import Terms


def test_a_backend_that_says_nothing_sets_no_terms() -> None:
    terms = Terms(requests_left=5)
    terms.hear(KeepAlive(None, None))
    assert (terms.idle, terms.requests_left) == (inf, 5)


def test_its_time_is_taken_a_second_shorter() -> None:
    terms = Terms()
    terms.hear(KeepAlive(5, None))
    assert terms.idle == 4.0
    terms.hear(KeepAlive(60, None))
    assert terms.idle == 59.0  # the last word counts


def test_its_number_of_requests_makes_ours_only_smaller() -> None:
    terms = Terms(requests_left=5)
    terms.hear(KeepAlive(None, 100))
    assert terms.requests_left == 5
    terms.hear(KeepAlive(None, 2))
    assert terms.requests_left == 3  # the one that was answered, which is counted when it has ended
