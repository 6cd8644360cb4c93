"""The words for how a backend stands, and what runs on it."""

from enum import StrEnum
from typing import Protocol

STATES = (
    "ready",
    "warming",
    "checking",
    "down",
    "ejected",
    "trial",
    "not_ready",
    "leaving",
    "draining",
    "drained",
    "maintenance",
)
"""Every word that `Backend.state` may be."""


class AdminState(StrEnum):
    """What the operator wishes."""

    READY = "ready"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


class Running(Protocol):
    """What runs on a backend and can be cut."""

    def cut(self) -> None:
        """End soon. The backend is given back later, never within this call."""
        ...
