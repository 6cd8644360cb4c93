"""The phrases that several messages use."""

from lb.suggestions import LONGEST_WORD, MOST_CHOICES, did_you_mean, plural


def test_a_word_that_is_nearly_right_is_named_and_otherwise_all_are() -> None:
    assert did_you_mean("conect", ["connect", "send"]) == ", did you mean `connect`?"
    assert did_you_mean("zzz", ["connect", "send"]) == "; there are: connect, send"
    assert did_you_mean("zzz", []) == ""


def test_of_many_words_the_first_are_looked_at() -> None:
    many = [f"x{number}" for number in range(MOST_CHOICES)]
    assert did_you_mean("connec", [*many, "connect"]) == f"; there are: {', '.join(many)}"


def test_a_long_word_is_compared_with_none() -> None:
    longest = "x" * LONGEST_WORD
    assert did_you_mean(longest[1:] + "y", [longest]) == f", did you mean `{longest}`?"
    assert did_you_mean(longest + "y", [longest]) == f"; there are: {longest}"


def test_a_plural_is_one_or_many() -> None:
    assert [plural(n, "pool") for n in (0, 1, 2)] == ["0 pools", "1 pool", "2 pools"]
