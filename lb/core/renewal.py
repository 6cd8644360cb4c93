"""When a certificate is renewed, and when it is tried again after a failure.

The certificate authority may say when (ARI, RFC 9773): it names a window, and each client takes a moment of
it by chance. The moment is drawn once for a window and then kept. A client that drew again at each look would
mostly come early. Without a window, a certificate is renewed when a third of its lifetime is left, or half of
it where that lifetime is below ten days. A number of days would be wrong as soon as lifetimes change.

After a failure the pauses grow: a minute, ten, an hour, then a day. However often a name is asked for, by
restarts or by an operator, it fails at most MOST_FAILURES times in an hour, because authorities refuse a name
for longer after that. Failures are kept in storage, so this module only makes new ones of old ones.

Times are Unix seconds, and chance is a number from 0 to 1.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from math import inf
from typing import NamedTuple

import msgspec

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

SHORT_LIFE = 10 * DAY
LEFT, LEFT_OF_SHORT = 1 / 3, 1 / 2
"""The share of the lifetime that is left when a certificate is renewed; and where the lifetime is short."""
LEAST_LEFT = 1 / 10
"""A window of the authority is waited for until so much of the lifetime is left."""
LEAST_AGE, LEAST_AGE_OF_SHORT = DAY, 1 / 10
"""How old a certificate is at least when a window has it renewed, and which share of its lifetime at most.

An authority that always names windows of the past would otherwise be sent one order after the other.
"""

PAUSES = (MINUTE, 10 * MINUTE, HOUR)
"""After the first failure in a row, the second, the third. After any more it is about a day."""
JITTER = 1 / 10
MOST_FAILURES = 5
FAILURES_SPAN = HOUR
LONGEST_HOLD = 7 * DAY
"""An authority that refuses for longer than this is asked again nevertheless."""
CLOCK_SLACK = MINUTE
"""Two balancers on one folder, or one before and after its clock was set, may be so far apart."""

LOOK_SECONDS = 6 * HOUR
"""Between two questions for the window, where the authority does not say how long (RFC 9773 section 4.3)."""
SHORTEST_LOOK, LONGEST_LOOK = MINUTE, DAY


class Validity(NamedTuple):
    """From when until when a certificate is valid."""

    begins: float
    ends: float

    @property
    def lifetime(self) -> float:
        return self.ends - self.begins


class Window(NamedTuple):
    """When the authority would like a certificate to be renewed."""

    starts: float
    ends: float


class Suggestion(NamedTuple):
    """A window, and the moment in it that was drawn for this certificate."""

    window: Window
    moment: float


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """What has gone wrong with one name.

    `times` are the last failures, whatever came between them; `in_a_row` counts those since the last success.
    The next attempt is not before `again_at`. `held` has the authorities that refuse the name for some time,
    by their directory, and until when. `why` is the sentence of the last failure, empty after a success.
    """

    times: tuple[float, ...] = ()
    in_a_row: int = 0
    again_at: float = 0.0
    held: dict[str, float] = {}
    why: str = ""


NO_FAILURES = Failures()


class Fault(Enum):
    """What is at fault when an attempt fails; it decides whether the next authority in line is tried."""

    AUTHORITY = "the authority: it is away, overloaded, or refuses us for now"
    SETTINGS = "our settings for this authority"
    NAME = "the name: it does not lead here, so that any authority would say the same"

    @property
    def is_the_same_everywhere(self) -> bool:
        return self is Fault.NAME


# -- when it is due ----------------------------------------------------------------------------------------


def drawn(window: Window, before: Suggestion | None, chance: float) -> Suggestion | None:
    """A moment in the window: that of before while the window is the same.

    None where the window ends before it begins, which counts as no answer (RFC 9773 section 4.2).
    """
    if not window.starts < window.ends < inf:
        return None
    if before is not None and before.window == window:
        return before
    return Suggestion(window, window.starts + chance * (window.ends - window.starts))


def due(validity: Validity, suggestion: Suggestion | None) -> float:
    """When the certificate is to be renewed; that may have passed already."""
    if suggestion is None:
        left = LEFT_OF_SHORT if validity.lifetime < SHORT_LIFE else LEFT
        return validity.ends - left * validity.lifetime
    earliest = validity.begins + min(LEAST_AGE, LEAST_AGE_OF_SHORT * validity.lifetime)
    return max(earliest, min(suggestion.moment, validity.ends - LEAST_LEFT * validity.lifetime))


def next_look(now: float, told_seconds: float | None) -> float:
    """When to ask for the window again; `told_seconds` is the Retry-After of the last answer."""
    seconds = LOOK_SECONDS if told_seconds is None else told_seconds
    return now + min(max(seconds, SHORTEST_LOOK), LONGEST_LOOK)


# -- after failures ----------------------------------------------------------------------------------------


def after_failure(
    failures: Failures, now: float, chance: float, why: str, held: Mapping[str, float]
) -> Failures:
    """The failures and one more, of an attempt that ended now. `held` has what authorities refuse since."""
    known = believed(failures, now)
    ceiling = now + LONGEST_HOLD
    holds = {name: until for name, until in known.held.items() if until > now}
    return Failures(
        times=(*known.times, now)[-MOST_FAILURES:],
        in_a_row=known.in_a_row + 1,
        again_at=now + _pause(known.in_a_row, chance),
        held=holds | {name: min(until, ceiling) for name, until in held.items()},
        why=why,
    )


def after_success(failures: Failures) -> Failures:
    """The failures after a certificate has come: those of the last hour count still."""
    return Failures(times=failures.times, held=failures.held)


def _pause(before: int, chance: float) -> float:
    """The pause after a failure that had so many before it, in a row."""
    if before < len(PAUSES):
        return PAUSES[before]
    return DAY * (1 - JITTER + 2 * JITTER * chance)


def believed(failures: Failures, now: float) -> Failures:
    """The failures without what lies too far ahead: then the clock of this machine was wrong, or is."""
    if any(time > now + CLOCK_SLACK for time in failures.times):
        return Failures(in_a_row=failures.in_a_row, why=failures.why)
    return failures


def next_attempt(at: float, failures: Failures, directories: Sequence[str], now: float) -> float:
    """When to try a certificate that is due at `at`."""
    known = believed(failures, now)
    return max(at, known.again_at, _below_the_most(known, now), _first_free(known, directories, now))


def next_wished_attempt(failures: Failures, directories: Sequence[str], now: float) -> float:
    """The same where an operator wants it now: the pauses do not count, what authorities ask for does."""
    known = believed(failures, now)
    return max(now, _below_the_most(known, now), _first_free(known, directories, now))


def in_line(failures: Failures, directories: Sequence[str], now: float) -> list[str]:
    """The authorities to try now, in their order, without those that refuse the name for some time."""
    known = believed(failures, now)
    return [name for name in directories if _until(known, name, now) <= now]


def _below_the_most(failures: Failures, now: float) -> float:
    """When fewer than MOST_FAILURES are within FAILURES_SPAN."""
    recent = [time for time in failures.times if time > now - FAILURES_SPAN]
    return recent[-MOST_FAILURES] + FAILURES_SPAN if len(recent) >= MOST_FAILURES else 0.0


def _first_free(failures: Failures, directories: Sequence[str], now: float) -> float:
    return min((_until(failures, name, now) for name in directories), default=0.0)


def _until(failures: Failures, directory: str, now: float) -> float:
    """Until when this authority refuses the name; a time that no authority can have asked for is none."""
    until = failures.held.get(directory, 0.0)
    return until if until <= now + LONGEST_HOLD else 0.0
