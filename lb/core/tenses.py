"""Clauses in the tenses in which a trouble is told: while it begins, while it lasts, and once it is over.

A clause is made of words and verbs, and may be a part of another clause, so nobody has to look into a text to
find its verb.
"""

from typing import NamedTuple


class Tenses(NamedTuple):
    """A verb, or a whole clause: "is", "has been" and "was"."""

    now: str
    lasted: str
    """Goes on with for how long."""
    was: str


IS = Tenses("is", "has been", "was")
ARE = Tenses("are", "have been", "were")
HAS = Tenses("has", "has had", "had")
HAVE = Tenses("have", "have had", "had")
FAILS = Tenses("fails", "has failed", "failed")
WAITS = Tenses("waits", "has waited", "waited")


def clause(*parts: str | Tenses) -> Tenses:
    """These one behind the other; what is no verb is the same in each tense."""
    each = [Tenses(part, part, part) if isinstance(part, str) else part for part in parts]
    return Tenses(
        "".join([part.now for part in each]),
        "".join([part.lasted for part in each]),
        "".join([part.was for part in each]),
    )
