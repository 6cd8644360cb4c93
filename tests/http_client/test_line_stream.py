"""Lines of a body, wherever the pieces are cut."""

from collections.abc import Callable
from functools import partial
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.http_client.line_stream import Splitter


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"", b"a", b"{}", b"long" * 10])), st.data())
def test_lines_are_the_same_wherever_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(line + data.draw(st.sampled_from([b"\n", b"\r\n"])) for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    splitter, found = Splitter(41), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += splitter.feed(whole[start:end])
    assert found == [line for line in lines if line]
    assert splitter.rest() == b""


def test_what_has_no_end_yet_is_the_rest() -> None:
    splitter = Splitter(10)
    assert splitter.feed(b"a\nbc") == [b"a"]
    assert splitter.rest() == b"bc"
    assert splitter.feed(b"d\n") == [b"bcd"]


@pytest.mark.parametrize("pieces", [[b"", b"a" * 11], [b"", b"a" * 11 + b"\n"], [b"a" * 6, b"a" * 5]])
def test_a_line_is_bounded(pieces: list[bytes]) -> None:
    splitter = Splitter(10)
    before, last = pieces
    splitter.feed(before)
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        splitter.feed(last)


def least(work: Callable[[], object]) -> float:
    """Seconds of this thread, the best of some times."""
    times = []
    for _ in range(15):
        began = thread_time()
        work()
        times.append(thread_time() - began)
    return min(times)


@pytest.mark.alone
def test_an_empty_line_costs_little_more_than_to_find_its_end() -> None:
    lines = b"\n" * 16384
    assert least(lambda: Splitter(10).feed(lines)) < 8 * least(partial(lines.split, b"\n"))
