"""Lists in JSON: ours, that of Prometheus, and what is neither."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.lists import reading
from lb.slices import at_once


def read(data: bytes) -> Announced:
    return at_once(reading(data))


def test_our_list_says_of_each_what_a_configuration_may() -> None:
    announced = read(
        b"""[
        {"url": "http://10.0.0.1:8000"},
        {"url": "unix:/run/app.sock", "id": "app", "weight": 3, "backup": true, "max_in_flight": 9,
         "max_connections": 4, "labels": {"zone": "a"}, "notice": "leaving"},
        {"url": "https://[::1]", "notice": "not_ready", "weight": null}
        ]"""
    )
    assert announced.backends == (
        Announcement(id="10.0.0.1-8000", url="http://10.0.0.1:8000"),
        Announcement(
            id="app",
            url="unix:/run/app.sock",
            weight=3,
            backup=True,
            max_in_flight=9,
            max_connections=4,
            labels={"zone": "a"},
            notice=Notice.LEAVING,
        ),
        Announcement(id="__1-443", url="https://[::1]", notice=Notice.NOT_READY),
    )
    assert announced.skipped == ()


def test_that_of_prometheus_is_a_list_of_groups() -> None:
    announced = read(
        b"""[
        {"targets": ["10.0.0.1:8000", "web.example"], "labels": {"zone": "a", "__meta_x": "y"}},
        {"targets": ["[::1]:9"], "labels": {"__scheme__": "https"}, "unknown": 1},
        {"targets": []}
        ]"""
    )
    assert announced.backends == (
        Announcement(id="10.0.0.1-8000", url="http://10.0.0.1:8000", labels={"zone": "a"}),
        Announcement(id="web.example-80", url="http://web.example", labels={"zone": "a"}),
        Announcement(id="__1-9", url="https://[::1]:9"),
    )
    assert announced.skipped == ()


def test_a_large_group_is_read_in_slices() -> None:
    targets = b", ".join(b'"10.0.0.%d:80"' % number for number in range(200))
    steps = list(reading(b'[{"targets": [%b]}]' % targets))
    assert len(steps) >= 200


def test_an_empty_list_is_a_set_without_backends() -> None:
    assert read(b"[]") == Announced(())


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (b"7", "entry 1: Expected `object`"),
        (b'{"url": "http://b", "wieght": 1}', "entry 1: Object contains unknown field `wieght`"),
        (b'{"id": "b"}', "entry 1: Object missing required field `url`"),
        (b'{"url": "http://b", "weight": 2000000}', "entry 1: weight"),
        (b'{"url": "http://b", "notice": "gone"}', "entry 1: Invalid enum value 'gone'"),
        (b'{"url": "http://a:80/"}', "entry 1: http://a has the id a-80 already"),
        (b'{"url": "b"}', "entry 1: url: 'b'"),
        (b'{"targets": ["b c"]}', "entry 1: b c: url:"),
        (b'{"targets": "b"}', "entry 1: Expected `array`"),
        (b'{"targets": ["b"], "labels": {"__scheme__": "ftp"}}', "entry 1: b: url: 'ftp://b'"),
    ],
)
def test_an_entry_of_no_use_is_skipped_and_told(entry: bytes, why: str) -> None:
    announced = read(b'[{"url": "http://a"}, ' + entry + b', {"url": "http://z"}]')
    assert [each.id for each in announced.backends] == ["a-80", "z-80"]
    (sentence,) = announced.skipped
    assert sentence.startswith(why)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b"<html>",
        b'[{"url": "http://a"}',
        b'[{"url": "http://a"}]]',
        b"[1]",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no list in JSON|none of its"):
        read(data)


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_list_or_refused(data: bytes) -> None:
    try:
        announced = read(data)
    except ValueError:
        return
    assert announced.backends == ()
