"""Mistakes as people read them: on which line, and which of a list, counted from the first."""

import re
from collections.abc import Sequence

from lb.config.key_lines import KeyLines

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
KEY = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[\w~.-]|\[\d+\])+(?=: )')
"""The key at the beginning of a mistake."""
LINE = re.compile(r"line (\d+): ")
"""How a mistake begins whose line is known."""
ITEM = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[\w~.-])+)\[(\d+)\]\.?')


def spoken(key: str) -> str:
    """The key in words: `routes[1].pool` is "the second of routes: pool"."""
    return ITEM.sub(lambda found: f"the {ordinal(int(found[2]))} of {found[1]}: ", key).removesuffix(": ")


def ordinal(index: int) -> str:
    """The word for a place that is counted from 0."""
    if index < len(ORDINALS):
        return ORDINALS[index]
    number = index + 1
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 // 10 != 1 else "th"
    return f"{number}{ending}"


def sentence(mistake: str, lines: KeyLines | None = None) -> tuple[int | None, str]:
    """The line of a mistake, None where it is not known, and its words; it is `KEY: what is wrong`."""
    found = KEY.match(mistake)
    if found is None:
        return None, mistake
    line = None if lines is None else lines.line(found[0])
    return line, f"{spoken(found[0])}{mistake[found.end() :]}"


def told(mistakes: Sequence[str], lines: KeyLines | None = None) -> Sequence[str]:
    """Each of them in words, with its line before it where that is known."""
    sentences = (sentence(each, lines) for each in mistakes)
    return [words if line is None else f"line {line}: {words}" for line, words in sentences]


def listed(rows: Sequence[str], source: str) -> str:
    """All of what is `told` as one message, with `source` before it."""
    if len(rows) == 1:
        between = ", " if LINE.match(rows[0]) else ": "
        return f"{source}{between}{rows[0]}" if source else rows[0]
    return "\n  ".join([f"{source or 'settings'}: {len(rows)} mistakes", *rows])
