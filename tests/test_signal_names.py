"""Each end of a process has words, also where the signal has no name."""

import pytest

from lb.signal_names import how_it_ended


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (7, "exit code 7"), (-9, "SIGKILL"), (-40, "signal 40")]
)
def test_each_end_has_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words
