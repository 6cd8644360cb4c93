"""Mistakes in a request: where each one is, what is wrong, and what was probably meant."""

from collections.abc import Iterable

import msgspec

from lb.suggestions import did_you_mean

MAX_HINTS = 20
"""More hints than this help no reader, and finding the nearest word costs time for each of them."""


class Mistake(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One mistake: at `pointer` in the body (RFC 6901) or in the query's `parameter`.

    Where it is about a file, `pointer` is the place in its tables and `line` that in its text.
    """

    pointer: str | None = None
    parameter: str | None = None
    line: int | None = None
    detail: str
    hint: str | None = None


class Hints:
    """What was probably meant by unknown words: for the first MAX_HINTS of a request, then None."""

    def __init__(self) -> None:
        self._left = MAX_HINTS

    def __call__(self, word: str, known: list[str]) -> str | None:
        self._left -= 1
        return hint_for(word, known) if self._left >= 0 else None


def hint_for(word: str, known: list[str]) -> str:
    """The known word that is nearest to this unknown one, or else all known words."""
    return did_you_mean(word, known).lstrip(",; ") or "there are none"


def unknown_fields(at: str, names: Iterable[str], known: list[str], hints: Hints) -> list[Mistake]:
    """A mistake for each name that is not known; `at` is the pointer of the object that has the names."""
    return [
        Mistake(pointer=f"{at}/{escaped(name)}", detail="unknown field", hint=hints(name, known))
        for name in names
        if name not in known
    ]


def escaped(name: str) -> str:
    """One step of a JSON pointer (RFC 6901 section 3)."""
    return name.replace("~", "~0").replace("/", "~1")
