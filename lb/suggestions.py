"""What a message suggests for a word that is not known, and plurals: used by all parts of the program."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

MOST_CHOICES = 100
"""Words that are compared and listed; one who may only ask may have sent thousands."""
LONGEST_WORD = 200
"""A longer word is compared with none: it is no slip, and to look for a near one takes long."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not in `known`: the word meant, or else those of `known`.

    Of many, the first are looked at.
    """
    choices = [*islice(known, MOST_CHOICES)]
    if len(word) <= LONGEST_WORD and (close := get_close_matches(word, choices, n=1)):
        return f", did you mean `{close[0]}`?"
    return f"; there are: {', '.join(choices)}" if choices else ""


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
