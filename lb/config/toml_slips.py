"""What is wrong with a text that is no TOML, and where that began.

tomllib stops where it can read no further. That is often behind the mistake: a bracket or three quotes that
are never closed end with the file. So the text before that place is scanned again, for what is still open.
"""

import re
from dataclasses import dataclass

from lb.config.decode import join
from lb.config.key_lines import HEADER, TOKEN, written_twice
from lb.config.key_places import is_list_of_tables
from lb.config.spoken_keys import spoken
from lb.config.toml_hints import hint

NEXT_KEY = re.compile(r"[ \t\n]*(?:\[\[?[\w\"' .-]+\]|[\w.\"'-]+[ \t]*=)")
"""What follows is a table or a key, so the list before it was to have ended."""
SECOND_KEY = re.compile(r"[ \t,;]*[\w.\"'-]+[ \t]*=")
TWICE = ("Cannot declare", "Cannot overwrite", "Cannot mutate")
"""How tomllib begins where a name has a value already."""
ESCAPES = ("Unescaped", "Invalid hex")
OTHERS = (
    (re.compile(r"\s*\{.*"), "this is JSON, and the file is TOML: KEY = VALUE"),
    (re.compile(r".*\{\s*"), "a table begins with [NAME] here, and has no braces"),
    (re.compile(r"[\w-]+:\s*"), "this is YAML, and the file is TOML: KEY = VALUE, and [NAME] above a table"),
)
"""How the lines of other kinds of files look, and what is said of them."""
OTHER_FILES = (
    (re.compile(r"\A\s*\{"), "JSON"),
    (
        re.compile(r"^[ \t}]*[\w*./:~@^][^=\[\]{}\"'\n]*\{[ \t]*$", re.MULTILINE),
        "a file of nginx, Caddy or the like",
    ),
    (
        re.compile(r"^(?:global|defaults|(?:frontend|backend|listen) [\w.-]+)[ \t]*$", re.MULTILINE),
        "a file of HAProxy",
    ),
    (re.compile(r"^---|^[ \t]*[\w-]+:[ \t]*$", re.MULTILINE), "YAML"),
)
"""What is found in whole files of other kinds, and how they are called."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text, counted from 1, and its offset, counted from 0."""

    line: int
    column: int
    offset: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


def slip(text: str, said: str, line: int | None, column: int) -> str:
    """The place of a mistake and what is wrong there, given what tomllib says; no line: at the text's end."""
    text = text.replace("\r\n", "\n")
    at = _place(text, len(text)) if line is None else _place(text, _offset(text, line) + column - 1)
    if "\r" in text and "\n" not in text:
        return f"{at}: the lines end as on old Macs, with CR alone; save it with LF"
    quote, bracket = _open(text, at.offset)
    if quote is not None:
        return _about_quote(text, quote, at)
    if said.startswith(ESCAPES):
        return f"{at}: in double quotes \\ begins an escape; single quotes leave the text as it is"
    if said.startswith(TWICE):
        return _about_twice(text, said, at)
    if bracket is not None and (words := _about_bracket(text, bracket, at)):
        return words
    if bracket is None and (kind := _other_file(text, at)):
        return f"{at}: this is {kind}, and not TOML; lb config init writes a file to begin with"
    written = _line(text, at)
    if bracket is None and (kind := next((words for form, words in OTHERS if form.fullmatch(written)), "")):
        return f"{at}: {kind}"
    if said.startswith("Expected newline") and SECOND_KEY.match(written, at.column - 1):
        return f"{at}: each key stands on a line of its own"
    return f"{at}: {said}{hint(written, is_item=bracket is not None)}"


def _other_file(text: str, at: Place) -> str:
    """What the whole file is instead; empty where some of it was TOML."""
    before = text[: at.offset - at.column + 1]
    if any(line and not line.startswith("#") for line in map(str.strip, before.split("\n"))):
        return ""
    return next((kind for form, kind in OTHER_FILES if form.search(text)), "")


def _offset(text: str, line: int) -> int:
    offset = 0
    for _ in range(line - 1):
        offset = text.find("\n", offset) + 1
    return offset


def _place(text: str, offset: int) -> Place:
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset), offset)


def _line(text: str, at: Place) -> str:
    return text[at.offset - at.column + 1 :].partition("\n")[0]


def _open(text: str, end: int) -> tuple[Place | None, Place | None]:
    """Where the quote begins that is open at the end of this part, and the innermost bracket."""
    brackets: list[int] = []
    offset = 0
    while offset < end and (token := TOKEN.match(text, offset)):
        word = token[0]
        if _is_unclosed(text, word, offset):
            return _place(text, offset), None
        if word in "[{":
            brackets.append(offset)
        elif word in "]}" and brackets:
            brackets.pop()
        offset = token.end()
    return None, _place(text, brackets[-1]) if brackets else None


def _is_unclosed(text: str, word: str, offset: int) -> bool:
    """Whether the text that this token begins never ends. Three quotes are `""` and one more then."""
    return word in ('"', "'") or (word in ('""', "''") and text.startswith(word[0], offset + 2))


def _about_quote(text: str, quote: Place, at: Place) -> str:
    mark = text[quote.offset]
    if text.startswith(3 * mark, quote.offset):
        return f"{quote}: the text that begins here with {3 * mark} never ends with {3 * mark}"
    meant = hint(_line(text, quote))
    return f"{quote}: the text that begins here has no {mark} at its end{meant}"


def _about_twice(text: str, said: str, at: Place) -> str:
    found = written_twice(text, at.line)
    if found is None:
        return f"{at}: {said}"
    path, first = found
    key = ""
    for step in path:
        key = f"{key}[{step}]" if isinstance(step, int) else join(key, step)
    if not HEADER.match(_line(text, at)):
        return f"line {at.line}: {spoken(key)} stands on line {first} already; leave one of them out"
    if is_list_of_tables(str(path[-1])):
        more = f"each one begins with [[{key}]], in two brackets"
    else:
        more = "put its keys together"
    return f"line {at.line}: {spoken(key)} stands on line {first} already; {more}"


def _about_bracket(text: str, bracket: Place, at: Place) -> str:
    """What is wrong within brackets that are open; empty where something else is."""
    opening = text[bracket.offset]
    if _line(text, bracket).startswith("[") and bracket.line == at.line:  # the header of a table
        return ""
    before, rest = text[: at.offset].rstrip(" \t\n"), text[at.offset :]
    if opening == "{":
        if rest.startswith("}") and before.endswith(","):
            return f"{at}: an inline table, {{ ... }}, has no comma before its end"
        if not rest or rest.startswith("\n") or at.line > bracket.line:
            return f"{bracket}: the {{ has no }} on its line, and an inline table ends there"
    elif not rest.strip() or NEXT_KEY.match(rest):
        return f"{bracket}: the [ that begins here has no ]"
    if before.endswith(('"', "'")) and rest[:1] not in "=.,]}":
        if _line(text, at).count(before[-1]) % 2:
            return f"{at}: one of the quotes on this line has no partner"
        return f"{at}: a comma is missing before this"
    return ""
