"""The workers that did not answer in time: an answer without their part names them."""

from collections.abc import Mapping, Sequence

import msgspec

from admin.views.sentences import listed
from lb.suggestions import plural


def in_words(missing: Sequence[int]) -> str:
    """A sentence about them, or "" where none is missing."""
    if not missing:
        return ""
    who = plural(len(missing), "worker").partition(" ")[2]
    return f"{who} {listed([str(number) for number in missing])} did not answer in time"


def or_unset(missing: Sequence[int]) -> list[int] | msgspec.UnsetType:
    """The field of a JSON answer, which is left out where none is missing."""
    return [*missing] or msgspec.UNSET


def warning(missing: Sequence[int]) -> Mapping[str, str]:
    """The field of the head, for who reads a table."""
    return {"Lb-Warning": in_words(missing)} if missing else {}


def beside(sentence: str, missing: Sequence[int]) -> str:
    """The sentence, and who is missing."""
    return f"{sentence}; {in_words(missing)}" if missing else sentence
