"""Decoding: from the tables of a TOML file to structs, with every mistake noted by the path of its key.

The type of a field says how its value is decoded: msgspec converts plain types, and an `Annotated` type
carries a rule, which is a function from the raw value to the decoded one (`lb.settings.values`). A rule
raises ValueError or msgspec's ValidationError where the raw value is wrong.
"""

import json
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Annotated, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from lb.settings.backend_spec import ID, BackendSpec
from lb.settings.balancer_settings import AccessLogSettings
from lb.settings.pool_settings import Probe, Sticky
from lb.suggestions import did_you_mean

T = TypeVar("T")
IN_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
IN_WORDS |= {list: "a list", dict: "a table"}


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
                self._note(path, f"expected one of {', '.join(get_args(hint))}, got {value!r}")
            else:
                message = str(exc).replace("`", "")
                self._note(path, message[0].lower() + message[1:])
        except ValueError as exc:
            self._note(path, str(exc))
        return None

    def _read(self, hint: object, value: object, path: str) -> object:
        origin, args = get_origin(hint), get_args(hint)
        if NoneType in args:
            return self._read(next(arg for arg in args if arg is not NoneType), value, path)
        if origin is tuple:
            items = _expected(list, value)
            return tuple(self.value(args[0], item, f"{path}[{index}]") for index, item in enumerate(items))
        if origin is dict:
            table = _expected(dict, value)
            return {key: self.value(args[1], item, join(path, key)) for key, item in table.items()}
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(hint, _expected(dict, value), path)
        return _rule(hint)(value)

    def struct(
        self, cls: type[msgspec.Struct], table: Mapping[str, object], path: str
    ) -> msgspec.Struct | None:
        """An instance of the struct; None where the table lacks a required key or breaks a rule."""
        hints = get_type_hints(cls, include_extras=True)
        for key in table:
            if key not in hints:
                self._note(join(path, key), f"unknown key{did_you_mean(key, hints)}")
        required = [field.name for field in msgspec.structs.fields(cls) if field.required]
        for key in required:
            if key not in table:
                self._note(join(path, key), "is missing")
        read = {key: self.value(hints[key], table[key], join(path, key)) for key in hints if key in table}
        values = {key: value for key, value in read.items() if value is not None}
        return self._made(cls(**values), path) if values.keys() >= set(required) else None

    def _made(self, made: msgspec.Struct, path: str) -> msgspec.Struct | None:
        try:
            return (
                made.checked() if isinstance(made, BackendSpec | Probe | Sticky | AccessLogSettings) else made
            )
        except ValueError as exc:
            self.mistakes.append(f"{path}.{exc}")
            return None

    def _note(self, path: str, mistake: str) -> None:
        self.mistakes.append(f"{path}: {mistake}")


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


def _expected(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"expected {IN_WORDS[kind]}, got {_in_words(value)}")
    return value


def _in_words(value: object) -> str:
    """A raw value for a message: the value itself, cut to 60 characters, or the name of its kind."""
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
