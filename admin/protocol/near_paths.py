"""What was probably meant by a path that is not served."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from admin.protocol.operation import PLACE

LONGEST_PATH = 200
NEAR = 0.6
"""How alike two words are at least, 0 to 1, as `difflib.get_close_matches` has it."""


def near_path(path: str, served: Iterable[str]) -> str | None:
    """The path among those `served` (`/backends/{id}/drain`) that is nearest to this one, or None.

    Values of the path are taken over into its places.
    """
    asked = path.strip("/").split("/")
    if len(path) > LONGEST_PATH:
        return None
    found = [(_likeness(asked, each), each) for each in map(_steps, dict.fromkeys(served))]
    likeness, steps = max(found, default=(0.0, ()))
    return _filled(asked, steps) if likeness >= NEAR else None


def _steps(path: str) -> Sequence[str]:
    return tuple(path.strip("/").split("/"))


def _likeness(asked: Sequence[str], steps: Sequence[str]) -> float:
    """How alike the least alike of their words are; 0 where they have not as many steps."""
    if len(asked) != len(steps):
        return 0.0
    pairs = [(a.lower(), b) for a, b in zip(asked, steps, strict=True) if not PLACE.fullmatch(b)]
    return min((SequenceMatcher(None, a, b).ratio() for a, b in pairs), default=0.0)


def _filled(asked: Sequence[str], steps: Sequence[str]) -> str:
    """The path of these steps, with the values that were asked for in its places."""
    return "/" + "/".join(a if PLACE.fullmatch(b) else b for a, b in zip(asked, steps, strict=True))
