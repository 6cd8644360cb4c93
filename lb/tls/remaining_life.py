"""How near its end a certificate is, by the share of its lifetime that is left, and who is to be told.

Days say little: a certificate of six days and one of a year are both renewed in time. Only the last two days
count as they are, for people are to do something in them; but they make nothing worse than a quarter does.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from lb.tls.certificate import Certificate

NearEnd = Literal["expiring", "critical", "expired"]
Stage = NearEnd | Literal["not yet valid", "valid"]
QUARTER, TENTH = 0.25, 0.1
TWO_DAYS = 2 * 86400.0


def stage_of(certificate: "Certificate", now: float) -> Stage:
    """The stage of its life at this instant."""
    left, share = certificate.not_after - now, certificate.lifetime_left(now)
    if left <= 0:
        return "expired"
    if now < certificate.not_before:
        return "not yet valid"
    if share < TENTH or (share < QUARTER and left < TWO_DAYS):
        return "critical"
    return "expiring" if share < QUARTER else "valid"


class Reached(NamedTuple):
    """A certificate that has come near its end. `is_new`: it was so near already when it was seen first."""

    id: str
    certificate: "Certificate"
    stage: NearEnd
    is_new: bool


class Countdown:
    """Finds certificates that are nearer to their end than when it was asked last."""

    def __init__(self) -> None:
        self._seen: dict[str, Stage] = {}

    def reaching(
        self, certificates: Iterable[tuple[str, "Certificate"]], now: float
    ) -> Iterator[Reached | None]:
        """Looks at one of all that are served with each step; gives it if it has come nearer to its end.

        Each stage of a certificate is given once.
        """
        before, seen = self._seen, dict[str, Stage]()
        for name, certificate in certificates:
            stage, was = stage_of(certificate, now), before.get(certificate.fingerprint)
            seen[certificate.fingerprint] = stage
            match stage:
                case "expiring" | "critical" | "expired" if stage != was:
                    yield Reached(name, certificate, stage, was is None)
                case _:
                    yield None
        self._seen = seen


def described(certificate: "Certificate", now: float) -> str:
    """What is left of its life, in words."""
    days = certificate.days_left(now)
    if days <= 0:
        return f"it ended {-days:.1f} days ago, so clients refuse it"
    return f"{days:.1f} days and {certificate.lifetime_left(now):.0%} of its lifetime are left"
