"""Text from elsewhere made safe to print, so that it cannot move the cursor or forge a line.

Ids and targets are chosen by clients, and the program at the address may be no balancer. `str.isprintable`
is false for every character that Unicode counts as control, format (these can turn the direction of text),
surrogate, private or separator, except the space.
"""

import sys
from collections.abc import Iterable, Sequence

COLOURS = {"red": 31, "yellow": 33, "blue": 34, "dim": 2}
"""Their codes in ECMA-48, section 8.3.117."""
LONGEST_TOLD = 30.0
"""The last bound of the balancer's buckets, in seconds."""


def printable(value: object) -> str:
    r"""The text on one line, with what is not printable as \x1b or \u202e."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def printable_lines(text: str) -> str:
    """The text made printable line by line; its line ends stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def printable_json(text: str) -> str:
    """The same JSON with every unprintable character escaped. These occur in strings only."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _json_escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escaped(char: str) -> str:
    if char in "\t\r":  # between values
        return " "
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def say(text: str) -> None:
    """Print to stdout and flush, so that the reader of a pipe gets the text at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Print a message to stderr."""
    sys.stderr.write(f"lb: {text}\n")
    sys.stderr.flush()


def terminal_width() -> int | None:
    """How many columns the terminal has; None where stdout is none."""
    import shutil  # which imports what unpacks archives, and few commands need this

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def folded(lines: Iterable[str]) -> list[str]:
    """Lines of prose, in as many as a terminal needs for whole words; what is indented stays so."""
    width = terminal_width()
    if width is None:
        return [*lines]
    from textwrap import TextWrapper  # which few commands need

    wrapper, parts = TextWrapper(width, break_long_words=False, break_on_hyphens=False), list[str]()
    for line in lines:
        wrapper.subsequent_indent = " " * (len(line) - len(line.lstrip(" ")))
        parts += wrapper.wrap(line) or [""]
    return parts


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


def seconds(value: float | None) -> str:
    """A duration in s or ms with as few digits as needed; below 10 ms with one digit more."""
    if value is None:
        return "-"
    if value >= 0.9995:
        return f"{value:.1f} s"
    return f"{value * 1000:.{0 if value >= 0.00995 else 1}f} ms"


def quantile(value: float | None) -> str:
    """A quantile of latencies; all that is known of one above the last bucket is that it is above."""
    return f">{LONGEST_TOLD:.0f} s" if value is not None and value >= LONGEST_TOLD else seconds(value)


def to_the_second(time: str) -> str:
    """A time that the API has told, in UTC, without what is below a second."""
    return f"{time.partition('.')[0]}Z"


def remembered(since: str, older: str = "older ones are forgotten") -> str:
    """The line below a list: since when the balancer remembers, and what has become of `older` ones."""
    return printable(f"remembered since {to_the_second(since)}; {older}")


def columns(rows: Iterable[Sequence[object]]) -> list[str]:
    """One line for each row, with the cells aligned in columns."""
    lines = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def cut(text: str, width: int) -> str:
    """The text, or as much of it as fits."""
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."[:width]


def cut_in_the_middle(text: str, width: int) -> str:
    """The text, or its beginning and its end: names of one kind often begin alike."""
    if len(text) <= width:
        return text
    end = (width - 3) // 2
    return f"{text[: width - 3 - end]}...{text[-end:]}"


def painted(text: str, tone: str) -> str:
    """The text in this colour (a key of COLOURS), or as it is for ""."""
    return f"\x1b[{COLOURS[tone]}m{text}\x1b[0m" if tone and text else text
