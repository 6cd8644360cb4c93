"""Durations, sizes, and networks of proxies."""

from math import inf

import pytest

from lb.settings.values import network_or_unix, parse_duration, parse_size


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
    with pytest.raises(ValueError, match=r"size|0 bytes"):
        parse_size(value)


@pytest.mark.parametrize(
    ("text", "proxies"),
    [
        ("unix", "unix"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::/0", "::/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
    ],
)
def test_trusted_proxies_are_networks_as_clients_are_compared_with_them(text: str, proxies: str) -> None:
    assert network_or_unix(text) == proxies


@pytest.mark.parametrize("text", ["unix:/run/lb.sock", "10.0.0.1/8", "localhost", ""])
def test_a_proxy_that_is_no_network_is_refused_and_the_choices_named(text: str) -> None:
    with pytest.raises(ValueError, match=r'expected a network such as 10.0.0.0/8, an address, or "unix"'):
        network_or_unix(text)
