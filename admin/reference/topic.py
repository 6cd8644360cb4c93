"""What a topic of the reference is made of, and how its text is laid out."""

import re
from collections.abc import Iterable
from textwrap import fill
from typing import NamedTuple

WIDTH = 100
INDENT = "    "


class Entry(NamedTuple):
    """One thing that can be looked up, such as a key, and all that is said about it.

    `place` is the head of the table to which a key belongs.
    """

    name: str
    text: str
    place: str = ""


class Topic(NamedTuple):
    """Entries of one kind, in their order; `preface` is said before them."""

    entries: tuple[Entry, ...]
    preface: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        preface = self.preface if self.preface.startswith("#") else f"{wrapped(self.preface)}\n"
        parts = (preface if self.preface else "", *(each.text for each in self.entries))
        return "\n".join(part for part in parts if part).rstrip("\n") + "\n"


def entry(name: str, head: str, *paragraphs: str) -> Entry:
    """An entry with a line of its own and paragraphs below it, indented and wrapped."""
    return Entry(
        name, "\n".join((wrapped(head), *(wrapped(each, INDENT) for each in paragraphs if each))) + "\n"
    )


def wrapped(text: str, indent: str = "") -> str:
    """Its paragraphs, each wrapped."""
    return "\n".join(_paragraph(each, indent) for each in re.split(r"\n\s*\n", text.strip("\n")))


def _paragraph(text: str, indent: str) -> str:
    words = " ".join(text.split())
    return fill(
        words,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Names to the left, what is said of each to the right."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0) + 2
    return "\n".join(
        fill(
            text,
            WIDTH,
            initial_indent=name.ljust(width),
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in rows
    )
