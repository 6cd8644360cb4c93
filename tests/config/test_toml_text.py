"""Values and keys in TOML are read back as they were."""

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lb.config.toml_text import toml, toml_key

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    TEXT
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_a_value_is_read_back(value: Any) -> None:
    assert tomllib.loads(f"a = {toml(value)}") == {"a": value}


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXT, min_size=1, max_size=3))
def test_a_key_is_read_back(names: list[str]) -> None:
    read: Any = tomllib.loads(f"{toml_key(tuple(names))} = 1")
    for name in names:
        read = read[name]
    assert read == 1


def test_what_is_unset_is_left_out_of_a_table() -> None:
    assert toml({"a": None, "b": (1, 2)}) == "{b = [1, 2]}"
