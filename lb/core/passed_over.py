"""Which backends were no candidates for a request, and why.

Most of them are out for every request: they drain, are down, or were ejected. One tuple of those is made when
the pool changes, and the records of all requests refer to it. The others concern one request: what it has
tried, and what was full at that moment. Of these only the first are named.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

Reason = tuple[str, str]
"""The id of a backend, and why it was no candidate."""

NAMED = 20
"""Of the backends that were passed over for one request alone, so many are named."""
FEW = 5
"""In a line for people or in a log, so many are named of all."""
TRIED = "tried already"


class PassedOver:
    """The backends that a choice left out; iterating gives the named ones, `len` counts all.

    `out` is shared; `others` and `unnamed`, which only counts, are of one request. `tried` has the ids of the
    backends that it has tried, and `kept` is the id of the one of `out` that was chosen all the same.
    """

    __slots__ = ("kept", "others", "out", "tried", "unnamed")

    def __init__(
        self,
        out: tuple[Reason, ...] = (),
        others: Sequence[Reason] = (),
        unnamed: int = 0,
        tried: Sequence[str] = (),
        kept: str = "",
    ) -> None:
        self.out = out
        self.others = others
        self.unnamed = unnamed
        self.tried = tried
        self.kept = kept

    def __iter__(self) -> Iterator[Reason]:
        for backend_id, why in self.out:
            if backend_id != self.kept:
                yield backend_id, TRIED if backend_id in self.tried else why
        yield from self.others

    def __len__(self) -> int:
        return len(self.out) + len(self.others) + self.unnamed - bool(self.kept)

    def few(self, most: int = FEW) -> tuple[Reason, ...]:
        """The first of those that are named."""
        return tuple(islice(self, most))

    def in_words(self, most: int = FEW) -> str:
        """`a (draining), b (full 1/1) and 7 more`."""
        few = self.few(most)
        words = ", ".join(f"{backend_id} ({why})" for backend_id, why in few)
        more = len(self) - len(few)
        return f"{words} and {more} more" if more else words


NONE_PASSED_OVER = PassedOver()
