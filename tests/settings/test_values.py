"""Durations and sizes."""

from math import inf

import pytest

from lb.settings.values import parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("30 s", 30), ("1.5m", 90), ("2h", 7200), (3, 3), (0.25, 0.25), (0, 0)],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value", ["", "30", "30x", "-1s", "1e3s", "٣s", None, True, [], -1, inf, "9" * 400 + "s"]
)
def test_invalid_durations(value: object) -> None:
    with pytest.raises(ValueError, match=r"duration|between"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("64KiB", 65536),
        ("1MiB", 1048576),
        ("10MB", 10_000_000),
        ("1.5kB", 1500),
        ("7 B", 7),
        (512, 512),
        (0, 0),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "64", "64kib", "-1B", 1.0, True, None, -1, "9" * 400 + "B"])
def test_invalid_sizes(value: object) -> None:
    with pytest.raises(ValueError, match=r"size|less"):
        parse_size(value)
