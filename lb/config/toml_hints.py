"""What was probably meant by a line that is no TOML: mostly a value that lacks its quotes.

A hint is a line that TOML takes, so that it can be pasted. It is made of the wrong one by one of a few
repairs: the first after which it is right.
"""

import re
import tomllib
from collections.abc import Iterator

from lb.settings import meant_values

LONGEST_LINE = 300
ASSIGNMENT = re.compile(r"([A-Za-z_\"'][\w.\"'-]*)(?:\s*(?::=|=>|==|[=:])\s*|\s+)(.*)")
HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"' -]*[\w\"'])\s*\]{0,2}\s*")
COMMENT = re.compile(r"\s+#.*|\s*$")
OTHER_COMMENT = re.compile(r"(|.*\s)(?://+|--+|;+)\s*(\w.*)")
"""How other kinds of files begin a comment, which has a word at least."""
VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|[^\[\]{},\"'#=\s](?:[^\[\]{},\"'#=]*[^\[\]{},\"'#=\s])?")
"""One value of a list or an inline table, or one of its keys."""
PORT = re.compile(r"((?:[\w.]+\.)?listen)[ =:]+(\d+)[;,]*(\s+#.*)?")
"""A port alone is no address, so quotes and a colon are missing too."""
CURLY = str.maketrans("\u201c\u201d\u201e\u2018\u2019\u201a", "\"\"\"'''")
"""The quotes of word processors."""
BOOLEANS = {"true": "true", "false": "false", "yes": "true", "no": "false", "on": "true"}
NOTHING = ("none", "null", "nil", "undefined")
NUMBER = re.compile(r"0+[1-9][0-9]*|[1-9][0-9]{0,2}(?:[,'][0-9]{3})+")
"""A whole number that TOML does not take: with zeros before it, or its thousands set off."""
SPELT_OUT = re.compile(r"[\d.,]+ ?[A-Za-z]{3,}")
"""A duration with a whole word for its unit."""


def hint(line: str, *, is_item: bool = False) -> str:
    """The end of a sentence about this line, empty where nothing better is known.

    `is_item`: the line may be a part of a list.
    """
    line = line.strip()
    if len(line) > LONGEST_LINE:
        return ""
    assignment = ASSIGNMENT.fullmatch(line)
    if assignment is not None and assignment[2].strip(" ;,").lower() in NOTHING:
        return f"; for no value leave the line out, `# {assignment[1]} =`"
    repaired = (each for each in _repairs(line, is_item) if each != line)
    meant = next((each for each in repaired if _is_right(each, is_item)), None)
    if meant is None:
        return ""
    has_more = _quotes(meant) > _quotes(line) + 1
    return f"; did you mean `{meant}`?{' Only numbers, true and false need no quotes' if has_more else ''}"


def _quotes(line: str) -> int:
    return line.count('"') + line.count("'")


def _is_right(line: str, is_item: bool) -> bool:
    """Whether TOML takes the line, as it is or as a part of a list."""
    return _is_toml(line) or (is_item and _is_toml(f"items = [{line}\n]"))


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


def _repairs(line: str, is_item: bool) -> Iterator[str]:
    """Lines that may be meant, the likeliest first."""
    header = HEADER.fullmatch(line)
    if header is not None:
        yield f"{header[1]}{header[2]}{']' * len(header[1])}"
        yield f"{header[1]}{_name(header[2])}{']' * len(header[1])}"
        return
    line = line.translate(CURLY)
    yield line
    if port := PORT.fullmatch(line):
        yield f'{port[1]} = ":{port[2]}"{port[3] or ""}'
    yield line.rstrip(";,")
    if (comment := OTHER_COMMENT.fullmatch(line)) and _is_toml(comment[1]):
        yield f"{comment[1]}{' ' if comment[1] else ''}# {comment[2]}"
    if assignment := ASSIGNMENT.fullmatch(line):
        key, value = assignment.groups()
        comment = COMMENT.search(value)
        bare, rest = (value, "") if comment is None else (value[: comment.start()], comment[0])
        bare = bare.rstrip(",;")
        yield f"{key} = {value}"
        yield f"{key} = {bare}{rest}"
        yield f"{key} = {_number(bare)}{rest}"
        yield f"{key} = {_each_quoted(bare)}{rest}"
        if bare and bare[0] not in "[{" and not _is_quoted(bare):
            yield f"{key} = {_in_quotes(bare)}{rest}"
    elif is_item:
        yield _each_quoted(line)


def _name(header: str) -> str:
    """The name of a table, without its blanks: `pools default` is `pools.default`."""
    first, *rest = header.split()
    return "-".join((first, *rest)) if "." in first else ".".join((first, "-".join(rest)))


def _each_quoted(text: str) -> str:
    """The text with quotes around each value in it that lacks them."""
    return VALUE.sub(_value, text)


def _value(found: re.Match[str]) -> str:
    text = found[0]
    is_key = found.string[found.end() :].lstrip().startswith("=")
    if is_key or _is_toml(f"value = {text}"):
        return text
    return BOOLEANS.get(text.lower()) or _in_quotes(text)


def _number(text: str) -> str:
    """The number without what TOML does not take in it."""
    return text.lstrip("0").replace(",", "").replace("'", "") if NUMBER.fullmatch(text) else text


def _is_quoted(text: str) -> bool:
    """Whether the text begins with a value in quotes, so that what follows is too much."""
    return text[0] in "\"'" and text.find(text[0], 1) not in (-1, len(text) - 1)


def _in_quotes(text: str) -> str:
    bare = text.strip("\"'")
    if SPELT_OUT.fullmatch(bare):
        bare = meant_values.duration(bare) or bare
    return f"'{bare}'" if {*'"\\'} & {*bare} else f'"{bare}"'
