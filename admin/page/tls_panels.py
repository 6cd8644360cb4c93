"""What the page says of certificates and of refused handshakes; `script/tls.js` says the same."""

from collections.abc import Sequence
from typing import NamedTuple

from admin.page.wording import NOTHING, percent, rate
from admin.views.certificate_json import CertificateList, CertificateView
from admin.views.handshake_json import HandshakeList
from lb.suggestions import plural

MOST_CERTIFICATES = 8
"""Those that end first; `lb certificates` has all."""
STAGE_TONES = {
    "valid": "ok",
    "expiring": "warn",
    "critical": "bad",
    "expired": "bad",
    "not yet valid": "bad",
}
"""The tone of each stage of a certificate's life; the words stand beside it."""


class Refused(NamedTuple):
    """The handshakes that were refused for one reason: how many, and the newest in words."""

    reason: str
    times: str
    sentence: str
    help: str


def tone_of_certificate(view: CertificateView) -> str:
    """The tone of its row: one that cannot be replaced by what its files hold is bad too."""
    return "bad" if view.error else STAGE_TONES[view.stage]


def of_certificate(view: CertificateView) -> str:
    """How long it lasts, in one line."""
    stage = "" if view.stage == "valid" else f"{view.stage} · "
    served = f" · {plural(view.routes_count, 'route')}" if view.routes_count else ""
    trouble = " · its files cannot be used" if view.error else ""
    trouble += " · its order fails" if view.renewal is not None and view.renewal.error else ""
    return f"{stage}{left(view)} · until {view.not_after[:10]}{served}{trouble}"


def about_certificate(view: CertificateView) -> str:
    """What else is to be known of it, a line each."""
    order = None if view.renewal is None else view.renewal.error
    lines = (view.issuer, f"{view.key_type} {view.key_bits}", view.error, order, *view.warnings)
    return "\n".join(filter(None, lines))


def left(view: CertificateView) -> str:
    """What is left of its life."""
    days = view.days_left
    if days <= 0:
        return "nothing left"
    span = f"{int(days)} days" if days >= 2 else f"{int(days * 24)} h"
    return f"{span} left, {percent(view.lifetime_left)} of its life"


def of_all(found: CertificateList) -> str:
    """What the rows do not show."""
    said = []
    if (more := found.total - len(found.items)) > 0:
        said.append(f"{more} more end later")
    if found.uncovered_count:
        more_hosts = " ..." if found.uncovered_count > 3 else ""
        said.append(f"no certificate for {', '.join(found.uncovered[:3])}{more_hosts}")
    if found.error:
        said.append("what is in the files cannot be used")
    return " · ".join(said)


def by_reason(found: HandshakeList) -> Sequence[Refused]:
    """The most frequent reason first; the newest of those that are remembered is told."""
    counts: dict[str, int] = {}
    for each in found.refused:
        counts[each.reason] = counts.get(each.reason, 0) + each.count
    newest = {each.reason: each for each in reversed(found.items)}
    return [
        Refused(
            reason,
            rate(count),
            newest[reason].sentence if reason in newest else NOTHING,
            newest[reason].help if reason in newest else "",
        )
        for reason, count in sorted(counts.items(), key=lambda each: -each[1])
    ]


def of_handshakes(found: HandshakeList) -> str:
    """How many there were."""
    refused = sum(each.count for each in found.refused)
    all_of_them = refused + sum(each.count for each in found.done)
    return f"{rate(refused)} of {rate(all_of_them)} since the start" if all_of_them else "none yet"
