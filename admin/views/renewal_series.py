"""The metrics of certificates that are ordered. The names are those that the configuration wants."""

from collections.abc import Iterator

from admin.views.metric_families import Family, counter, gauge
from lb.core.renewal_view import Renewals

LABELS = ("name",)


def of_renewals(renewals: Renewals) -> Iterator[Family]:
    """Every family about orders."""
    results = (((result,), count) for result, count in [*renewals.results.items()])
    yield counter("acme_orders", "Attempts to get a certificate.", ("result",), results)
    standings = renewals.standings()
    planned = (((each.name,), each.next_attempt) for each in standings)
    attempts = ((name, at) for name, at in planned if at is not None)
    help_text = "When a certificate is ordered or renewed next; none while its files cannot be read."
    yield gauge("acme_next_attempt_timestamp_seconds", help_text, LABELS, attempts)
    failures = (((each.name,), each.failures_in_a_row) for each in standings)
    yield gauge("acme_failures_in_a_row", "Failed attempts since the last success.", LABELS, failures)
