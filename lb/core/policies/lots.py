"""Drawing backends by chance in proportion to their shares, without a look at each.

Those of one share stand in one list, so a draw chooses a list, by what its members have together, and then
any of them. It costs a look for each different share. Who leaves is replaced by the last of its list.
"""

from collections.abc import Callable, Sequence

from lb.core.backend import Backend


class Lots:
    """The backends that may be drawn, with the shares that they had when they came."""

    __slots__ = ("_chance", "_lists", "_only", "_places", "_total")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.follow(())

    def follow(self, candidates: Sequence[Backend]) -> None:
        """From now on these are the candidates, and no others."""
        self._total = 0
        self._only: list[Backend] | None = None
        self._lists: dict[int, list[Backend]] = {}
        self._places: dict[Backend, tuple[int, int]] = {}
        for backend in candidates:
            self.enter(backend)

    def enter(self, backend: Backend) -> None:
        """One more candidate."""
        share = backend.share
        equals = self._lists.setdefault(share, [])
        self._places[backend] = share, len(equals)
        equals.append(backend)
        self._total += share
        self._only = equals if len(self._lists) == 1 else None

    def leave(self, backend: Backend) -> None:
        """This one is a candidate no more."""
        share, at = self._places.pop(backend)
        equals = self._lists[share]
        last = equals.pop()
        if last is not backend:
            equals[at] = last
            self._places[last] = share, at
        if not equals:
            del self._lists[share]
        self._total -= share
        self._only = next(iter(self._lists.values())) if len(self._lists) == 1 else None

    def draw(self) -> Backend:
        """One of them, of which there is at least one."""
        if self._only is not None:
            return self._only[min(int(self._chance() * len(self._only)), len(self._only) - 1)]
        point = self._chance() * self._total
        for share, equals in self._lists.items():
            weight = share * len(equals)
            if point < weight:
                break
            point -= weight
        # A point may round up to the end of the last list, or, for want of digits, of another.
        return equals[min(int(point / share), len(equals) - 1)]

    def draw_other(self, first: Backend) -> Backend:
        """One of those that are left when this one is out; there are two at least."""
        if self._only is not None:
            equals, count = self._only, len(self._only) - 1
            at = min(int(self._chance() * count), count - 1)
        else:
            equals, at = self._other_place(self._places[first][0])
        # The last of the list stands for the one that is out.
        return equals[-1] if equals[at] is first else equals[at]

    def _other_place(self, its_share: int) -> tuple[list[Backend], int]:
        """A list, and a place in it that is not the last one if the list is that of this share."""
        point = self._chance() * (self._total - its_share)
        for share, equals in self._lists.items():
            count = len(equals) - (share == its_share)
            if count:
                found = equals, min(int(point / share), count - 1)
                if point < share * count:
                    break
            point -= share * count
        return found
