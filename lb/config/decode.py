"""Decoding: from the tables of a TOML file to structs, with every mistake noted by the path of its key.

The type of a field says how its value is decoded: msgspec converts plain types, and an `Annotated` type
carries a rule, which is a function from the raw value to the decoded one (`lb.settings.values`). A rule
raises ValueError or msgspec's ValidationError where the raw value is wrong.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from difflib import get_close_matches
from functools import cache
from types import NoneType
from typing import Annotated, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from lb.config import foreign_words
from lb.config.key_places import belongs, is_list_of_tables
from lb.config.plain_values import in_place_of_table, is_file_of_log
from lb.settings.backend_spec import ID, BackendSpec, SpecError
from lb.settings.balancer_settings import AccessLogSettings
from lb.suggestions import did_you_mean

T = TypeVar("T")
SHORT = {BackendSpec: "url", AccessLogSettings: "format"}
"""Structs for which a text may stand, and the key that it is the value of."""
ALIKE = 0.85
"""So like a known key is one that was misspelt, whatever else it may mean."""
IN_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
IN_WORDS |= {list: "a list", dict: "a table", datetime: "a date", date: "a date", time: "a time"}
MISTYPED = re.compile(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`(.*)", re.DOTALL)
"""What msgspec says of a value of the wrong type."""
KINDS = {"str": str, "int": int, "float": float, "bool": bool, "array": list, "object": dict}


class Reader:
    """Decodes tables and notes every mistake instead of stopping at the first.

    A field whose value is wrong keeps its default, a wrong item of a list becomes None, and decoding goes
    on. The result is of its declared type only while `mistakes` is empty.
    """

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def value(self, hint: object, value: object, path: str) -> object:
        """The decoded value, or None with a mistake noted."""
        try:
            return self._read(hint, value, path)
        except msgspec.ValidationError as exc:
            if get_origin(hint) is Literal:
                self._note(path, _not_among(value, get_args(hint)))
            else:
                self._note(path, _mistyped(value, str(exc)))
        except ValueError as exc:
            self._note(path, str(exc))
        return None

    def _read(self, hint: object, value: object, path: str) -> object:
        origin, args = get_origin(hint), get_args(hint)
        if NoneType in args:
            return self._read(next(arg for arg in args if arg is not NoneType), value, path)
        if origin is tuple:
            return self._items(args[0], value, path)
        if origin is dict:
            table = _expected(dict, value)
            return {key: self.value(args[1], item, join(path, key)) for key, item in table.items()}
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            if isinstance(value, str) and hint in SHORT and not is_file_of_log(hint, value):
                value = {SHORT[hint]: value}
            if not isinstance(value, dict):
                raise ValueError(
                    f"expected a table, got {_in_words(value)}{in_place_of_table(hint, value, path)}"
                )
            return self.struct(hint, value, path)
        return _rule(hint)(value)

    def _items(self, hint: object, value: object, path: str) -> tuple[object, ...]:
        """The items of a list; a single text or number is one of one item."""
        of_tables = isinstance(hint, type) and issubclass(hint, msgspec.Struct)
        if isinstance(value, dict) and of_tables:
            raise ValueError(f"each one begins with [[{path}]], in two brackets")
        if isinstance(value, list | dict) and not of_tables and _has_table(value):
            raise ValueError(f"expected a list of plain values, {path} = [...], got a table")
        items = [value] if isinstance(value, str | int | float) else _expected(list, value)
        is_list = isinstance(value, list)
        paths = [f"{path}[{index}]" if is_list else path for index in range(len(items))]
        return tuple(self.value(hint, item, at) for item, at in zip(items, paths, strict=True))

    def struct(
        self, cls: type[msgspec.Struct], table: Mapping[str, object], path: str
    ) -> msgspec.Struct | None:
        """An instance of the struct; None where the table lacks a required key or breaks a rule."""
        hints, required = _fields(cls)
        for key in table:
            if key not in hints:
                self._note(join(path, key), f"unknown key{_instead(key, table[key], hints, path)}")
        for key in required:
            if key not in table:
                self._note(join(path, key), "is missing")
        read = {key: self.value(hints[key], table[key], join(path, key)) for key in hints if key in table}
        values = {key: value for key, value in read.items() if value is not None}
        return self._made(cls(**values), path) if values.keys() >= set(required) else None

    def _made(self, made: msgspec.Struct, path: str) -> msgspec.Struct | None:
        """Checked by the rules between its fields, where its struct has some (`checked`)."""
        rules: Callable[[], msgspec.Struct] | None = getattr(made, "checked", None)
        try:
            return made if rules is None else rules()
        except ValueError as exc:
            mistakes = exc.mistakes if isinstance(exc, SpecError) else (exc,)
            self.mistakes += [f"{path}.{each}" for each in mistakes]
            return None

    def _note(self, path: str, mistake: str) -> None:
        self.mistakes.append(f"{path}: {mistake}")


def _instead(key: str, value: object, known: Mapping[str, object], table: str) -> str:
    """The end of a sentence about a key that this table does not have."""
    if close := get_close_matches(key, known, n=1, cutoff=ALIKE):
        path = join(table, close[0])
        return f", did you mean [[{path}]]?" if is_list_of_tables(close[0]) else did_you_mean(key, known)
    pool, holds = _named(value), value if isinstance(value, dict) else ()
    return (
        foreign_words.ours(key, table, pool, holds)
        or _longer(key, known)
        or belongs(key, table, pool)
        or did_you_mean(key, known)
    )


def _has_table(value: list[object] | dict[str, object]) -> bool:
    return isinstance(value, dict) or any(isinstance(each, dict) for each in value)


def _longer(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is a part of a key: mostly the last, as in `request_body`."""
    ending = [key for key in known if key.endswith(f"_{word}")]
    found = ending or [key for key in known if key.startswith(f"{word}_")]
    return f", did you mean {' or '.join(f'`{key}`' for key in found)}?" if found else ""


def _named(value: object) -> str:
    """What others name in a header, such as `web` of [upstream.web], as it stands in a path; or nothing."""
    inner = next(iter(value.items()), None) if isinstance(value, dict) else None
    return join("", inner[0]) if inner is not None and isinstance(inner[1], dict | list) else ""


@cache
def _fields(cls: type[msgspec.Struct]) -> tuple[Mapping[str, object], Sequence[str]]:
    """The type of each field of the struct, and the fields that it requires."""
    hints = get_type_hints(cls, include_extras=True)
    return hints, [field.name for field in msgspec.structs.fields(cls) if field.required]


def told(struct: msgspec.Struct) -> dict[str, object]:
    """The tables that this struct would be decoded from, without the keys whose value is None."""
    tables = cast("dict[str, object]", msgspec.to_builtins(struct))
    return without_none(tables)


def without_none(table: Mapping[str, object]) -> dict[str, object]:
    """The table and the tables within it, without the keys whose value is None."""
    return {
        key: without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }


def _not_among(value: object, choices: Sequence[object]) -> str:
    """The message for a value that is none of these, with the one that was meant."""
    written = [str(choice) for choice in choices]
    text = value.lower() if isinstance(value, str) else ""
    same = [choice for choice in written if choice.lower() == text]
    close = same or get_close_matches(text, written, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"expected one of {', '.join(written)}, got {_in_words(value)}{meant}"


def _mistyped(value: object, said: str) -> str:
    """The message for a value of which msgspec said this, in words and with what to do about quotes."""
    found = MISTYPED.fullmatch(said)
    kind = KINDS.get(found[1]) if found else None
    if found is None or kind is None:
        message = said.replace("`", "")
        return message[0].lower() + message[1:]
    quotes = ""
    if kind is str and isinstance(value, int | float | date | time):
        quotes = " in quotes"
    elif kind in (int, float, bool) and isinstance(value, str):
        quotes = " without quotes"
    got = _in_words(value)
    if isinstance(value, list | dict) and found[2] in KINDS:  # it is about a part of the value
        got = IN_WORDS[KINDS[found[2]]]
    return f"expected {IN_WORDS[kind]}{quotes}, got {got}{found[3]}"


def _expected(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"expected {IN_WORDS[kind]}, got {_in_words(value)}")
    return value


def _in_words(value: object) -> str:
    """A raw value for a message: the value itself, cut to 60 characters, or the name of its kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return repr(value)[:60]
    return IN_WORDS.get(type(value), type(value).__name__)


def _rule(hint: object) -> Callable[[object], object]:
    """The function that decodes a value of this type: the rule of an `Annotated`, otherwise msgspec."""
    if get_origin(hint) is not Annotated:
        return lambda value: msgspec.convert(value, hint)
    _kind, rule = get_args(hint)
    return cast("Callable[[object], object]", rule)


def join(path: str, key: str) -> str:
    """The path of a key in a table; a key with a dot or another odd character is quoted."""
    key = key if ID.fullmatch(key) and "." not in key else json.dumps(key)
    return f"{path}.{key}" if path else key
