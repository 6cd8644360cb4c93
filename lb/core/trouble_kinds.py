"""The kinds of trouble, from when on each is told and until when, and how one that was found is described."""

from collections.abc import Mapping
from typing import NamedTuple

from lb.core.tenses import Tenses

CALM = 6.0
"""What comes from rates, or may change with each request, is over when it was not found for so long."""


class Threshold(NamedTuple):
    """From when on it is trouble: what must hold, and for how many seconds."""

    lasts: float
    """It must be found for so long before it is told."""
    calm: float = 0.0
    """It must not be found for so long before it is over; without, one look is enough."""
    least_requests: int = 0
    """Of fewer in the last ten seconds nothing is concluded."""
    least_failures: int = 0
    """So many more than chance would give it: the failures that it would have if it were as the others, and
    five standard deviations of those (the square root, as of any rare thing)."""
    share: float = 0.0
    """The part of the requests that fails."""
    times: float = 0.0
    """So many times what the others have."""
    seconds: float = 0.0
    """And so much more than they."""


THRESHOLDS: Mapping[str, Threshold] = {
    "nobody": Threshold(lasts=1),
    "file": Threshold(lasts=2),
    "places": Threshold(lasts=1, calm=CALM, share=0.8),
    "worker": Threshold(lasts=2),
    "unknown wishes": Threshold(lasts=0),
    "held wishes": Threshold(lasts=0),
    "alone": Threshold(lasts=5),
    "unfit": Threshold(lasts=10),
    "local": Threshold(lasts=0),
    "down": Threshold(lasts=0),
    "ejected": Threshold(lasts=1),
    "waiting": Threshold(lasts=0, times=10, seconds=5),
    "errors": Threshold(lasts=3, calm=CALM, least_requests=20, least_failures=5, share=0.02, times=4),
    "pool errors": Threshold(lasts=3, calm=CALM, least_requests=20, least_failures=5, share=0.02),
    "slow": Threshold(lasts=5, calm=CALM, least_requests=20, times=3, seconds=0.05),
    "slow tail": Threshold(lasts=10, calm=CALM, least_requests=200, times=5, seconds=0.5),
    "queue": Threshold(lasts=2, calm=CALM),
    "panic": Threshold(lasts=1),
    "source": Threshold(lasts=10),
    "held": Threshold(lasts=0),
    "drain": Threshold(lasts=0, seconds=30),
    "certificate": Threshold(lasts=0, seconds=3 * 86400),
    "renewal": Threshold(lasts=0, least_failures=2),
    "unlike": Threshold(lasts=600),
    "late": Threshold(lasts=5, calm=CALM, seconds=0.1),
}
"""Every kind of trouble, the gravest first."""

MEANS: Mapping[str, str] = {
    "nobody": "No backend of a pool takes requests, though there are some or somebody wants it.",
    "file": "A file of the configuration, of tokens or certificates has a mistake: a restart would fail.",
    "places": "The places for clients (limits.connections) are all taken, or one address has most of them.",
    "worker": "A worker process is gone, does not answer, or goes on with former settings.",
    "unknown wishes": "A balancer does not know the wishes of its cluster yet, and serves nobody.",
    "held wishes": "etcd was wiped or restored, and would undo wishes; a person has to say which are right.",
    "alone": "The etcd of the cluster is not followed: changes are refused, those of others not heard.",
    "unfit": "The cluster wishes something that cannot be done here.",
    "local": "A backend or a pool is otherwise here than on the other balancers (?local=true).",
    "down": "Probes say so of a backend that the operator wants in.",
    "ejected": "A backend is ejected for bad outcomes, or on trial after that.",
    "waiting": "Requests wait for a backend to begin its answer, compared with the median of the pool's "
    "answers; where there is none, for 10 s.",
    "errors": "A backend fails more often than the others of its pool.",
    "pool errors": "Clients of a pool get 5xx, and no single backend is to blame.",
    "slow": "The median of a backend's answers is later than that of the others.",
    "slow tail": "The same of the slowest hundredth.",
    "queue": "Requests wait, as every backend is at its cap.",
    "panic": "Too few backends are fit, so all of them are used.",
    "source": "A source of backends fails; what it said last is used on.",
    "held": "A source names backends no more that are used on all the same (`keep`).",
    "drain": "A drain lasts long, and for whom it waits.",
    "certificate": "Less than a quarter of a certificate's lifetime is left, and less than this.",
    "renewal": "A certificate could not be renewed, again and again.",
    "unlike": "The balancers of the cluster are configured in different ways.",
    "late": "The event loop wakes tasks late: it has more to do than one core can, or others have the cores.",
}
"""What each kind is, for people."""


class Found(NamedTuple):
    """What a rule has found. `subject` tells it apart from others of its kind.

    `what` is the beginning of a sentence, which goes on with for how long if it `lasts`, and then, behind a
    colon, with `why`, which may be "". `advice` is what to do next, with commands between backticks. `since`
    is known where the thing itself has a beginning.
    """

    kind: str
    subject: str
    what: Tenses
    why: str = ""
    advice: str = ""
    pool: str = ""
    backend: str = ""
    since: float | None = None
    lasts: bool = True
