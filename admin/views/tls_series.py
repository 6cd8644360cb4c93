"""The metrics of TLS with clients."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from admin.views.metric_families import Family, counter, gauge, histogram
from lb.tls.certificate_ids import by_id

if TYPE_CHECKING:
    from lb.certificate_files.handshake_log import HandshakeLog
    from lb.certificate_files.termination import Termination

LABELS = ("certificate",)


def of_tls(tls: "Termination | None") -> Iterator[Family]:
    """Every family about certificates and handshakes; without series where no listener speaks TLS."""
    found = by_id(() if tls is None else tls.certificates.all).items()
    ends = (((name,), each.not_after) for name, each in found)
    help_text = "When a certificate that is served ends."
    yield gauge("tls_certificate_expiry_timestamp_seconds", help_text, LABELS, ends)
    lives = (((name,), each.not_after - each.not_before) for name, each in found)
    help_text = "How long a certificate is valid in all."
    yield gauge("tls_certificate_lifetime_seconds", help_text, LABELS, lives)
    yield from _of_handshakes(None if tls is None else tls.handshakes)
    results = (((result,), count) for result, count in ({} if tls is None else tls.results).items())
    yield counter("tls_reloads", "Times that certificates were read again.", ("result",), results)


def _of_handshakes(log: "HandshakeLog | None") -> Iterator[Family]:
    done = (
        ((listener, version, "true" if is_resumed else "false"), count)
        for (listener, version, is_resumed), count in ([] if log is None else [*log.done.items()])
    )
    labels = ("listener", "version", "resumed")
    yield counter("tls_handshakes", "TLS handshakes with clients that succeeded.", labels, done)
    refused = [] if log is None else [*log.failed.items()]
    failed = (((listener, reason.value), count) for (listener, reason), count in refused)
    help_text = "TLS handshakes with clients that were refused, by either side."
    yield counter("tls_handshake_failures", help_text, ("listener", "reason"), failed)
    help_text = "How long handshakes with clients took, from accepting the connection on."
    durations = [] if log is None else [((), log.durations)]
    yield histogram("tls_handshake_seconds", help_text, (), durations)
