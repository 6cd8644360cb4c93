"""On which line of a TOML text a key stands; tomllib tells only of syntax errors where they are.

The text is one that tomllib has read, so it is scanned with few rules: the header of a table, a key, its
value. Items of lists have lines of their own, also those that begin with `[[...]]`.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Set

PART = r'(?:"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[\w-]+)'
KEY = rf"{PART}(?:[ \t]*\.[ \t]*{PART})*"
HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({KEY})[ \t]*\]\]?[^\n]*")
ASSIGNMENT = re.compile(rf"[ \t]*({KEY})[ \t]*=[ \t]*")
TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}'  # texts of several lines
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{},\n]|[^\s\[\]{},#"\']+|[ \t\r]+|.',
    re.DOTALL,
)
STEP = re.compile(r'\.?("(?:[^"\\\n]|\\.)*"|[\w~-]+)|\[(\d+)\]')
"""A step of a key as `lb.config.decode.join` writes it."""

Path = tuple[str | int, ...]


class KeyLines:
    """The lines of the keys in a text; of those `besides` it and below them no line is known."""

    def __init__(self, text: str, besides: Set[Path] = frozenset()) -> None:
        self._lines: dict[Path, int] = {}
        self._besides = besides
        for path, line in _scanned(text):
            self._lines.setdefault(path, line)

    def line(self, key: str) -> int | None:
        """The line of a key such as `pools.web.backends[1].url`; where it is missing, of what it is to be in.

        None where that is the top of the file.
        """
        path = path_of(key)
        if any(path[:length] in self._besides for length in range(1, len(path) + 1)):
            return None
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path)


def written_twice(text: str, line: int) -> tuple[Path, int] | None:
    """The key that has a value already where tomllib stops on this line, and the line of its first one."""
    seen: dict[Path, int] = {}
    found = None
    for path, at in _scanned("\n".join(text.split("\n")[:line])):
        if path in seen and not isinstance(path[-1], int):
            found = path, seen[path]
        seen.setdefault(path, at)
    return found


def path_of(key: str) -> Path:
    """The steps of a key; the sentence that may stand behind it is left out."""
    steps: list[str | int] = []
    end = 0
    while step := STEP.match(key, end):
        steps.append(int(step[2]) if step[2] else _name(step[1]))
        end = step.end()
    return tuple(steps)


def _name(part: str) -> str:
    if part.startswith('"'):
        return str(json.loads(part))
    return part[1:-1] if part.startswith("'") else part


def _names(key: str) -> list[str | int]:
    return [_unescaped(part) if "\\" in part else _name(part) for part in re.findall(PART, key)]


def _unescaped(part: str) -> str:
    """The part as TOML reads it, which has escapes that JSON has not."""
    return str(tomllib.loads(f"part = {part}")["part"])


def _scanned(text: str) -> Iterator[tuple[Path, int]]:
    """Each key and each item of a list, with its line."""
    counts: dict[Path, int] = {}
    table: Path = ()
    at, line = 0, 1
    while at < len(text):
        if header := HEADER.match(text, at):
            table = _opened(header, counts)
            yield from ((table[:length], line) for length in range(1, len(table) + 1))
        elif assignment := ASSIGNMENT.match(text, at):
            path = _below(table, _names(assignment[1]), counts)
            yield from ((path[:length], line) for length in range(len(table) + 1, len(path) + 1))
            for token in _tokens(text, assignment.end(), line):
                at, line, item = token
                if item is not None:
                    yield (*path, item), line
        at = (text.find("\n", at) + 1) or len(text)
        line += 1


def _opened(header: re.Match[str], counts: dict[Path, int]) -> Path:
    """The path of the table that this header begins; a list of tables gets one more."""
    path = _below((), _names(header[2]), counts, is_header=True)
    if header[1] == "[":
        return (*path, counts[path]) if path in counts else path
    counts[path] = counts.get(path, -1) + 1
    return (*path, counts[path])


def _below(above: Path, names: list[str | int], counts: dict[Path, int], is_header: bool = False) -> Path:
    """The path of a dotted key; where a list of tables is on the way, its last one is meant."""
    path = above
    for at, name in enumerate(names, 1):
        path = (*path, name)
        is_last = at == len(names)
        if path in counts and not (is_header and is_last):
            path = (*path, counts[path])
    return path


def _tokens(text: str, at: int, line: int) -> Iterator[tuple[int, int, int | None]]:
    """Each token of the value that begins here: where it begins, its line, its place where it is an item.

    Last comes where the value ends.
    """
    depth, index, is_new = 0, 0, True
    is_list = text.startswith("[", at)
    while token := TOKEN.match(text, at):
        word = token[0]
        if word == "\n" and depth == 0:
            break
        if word in "]}":
            depth -= 1
        elif is_list and depth == 1 and word == ",":
            index, is_new = index + 1, True
        is_item = is_list and depth == 1 and is_new and word.strip(", \t\r\n]") and not word.startswith("#")
        is_new = is_new and not is_item
        yield at, line, index if is_item else None
        depth += word in "[{"
        line += word.count("\n")
        at = token.end()
    yield at, line, None
