"""The strip of what is wrong, above the backends; `script/trouble.js` is the same."""

from collections.abc import Sequence

from admin.views.trouble_json import TroubleView

MOST = 5
"""So many are shown; the gravest come first."""
WARNINGS = frozenset(
    {
        "slow",
        "slow tail",
        "drain",
        "certificate",
        "renewal",
        "ejected",
        "late",
        "panic",
        "queue",
        "source",
        "held",
    }
)
"""Kinds by which clients need not have noticed anything."""


def tone_of_trouble(kind: str) -> str:
    """How grave it is."""
    return "warn" if kind in WARNINGS else "bad"


def more_troubles(items: Sequence[TroubleView]) -> str:
    """How many are not shown."""
    return f"{len(items) - MOST} more: GET /trouble" if len(items) > MOST else ""
