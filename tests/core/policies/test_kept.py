"""What a policy keeps of each backend: made once, forgotten when the backend is gone, and linear in all."""

from collections import Counter

from lb.core.backend import Backend
from lb.core.policies.kept import FEW, Kept
from tests.core.scene import backends, spec


def test_an_entry_is_made_once() -> None:
    (a,) = backends(1)
    made = Counter[Backend]()
    kept = Kept(lambda backend: made.update([backend]))
    assert kept[a] is kept[a]
    assert made == {a: 1}


def test_those_that_are_gone_are_forgotten() -> None:
    kept = Kept(lambda backend: backend.id)
    for _ in range(10):
        here = backends(*[1] * 20)
        assert [kept[each] for each in here] == [each.id for each in here]
        for each in here:
            each.removed = True
    assert len(kept) <= 2 * 20 + FEW


def members(count: int) -> list[Backend]:
    return [Backend(spec(f"b{number}"), "default", "test", 0.0) for number in range(count)]


class Watched(Kept[str]):
    looks = 0

    def _sweep(self) -> None:
        self.looks += len(self)
        super()._sweep()


def test_that_costs_a_few_looks_for_each_however_many_come() -> None:
    kept = Watched(lambda backend: backend.id)
    for each in members(5000):
        kept[each]
    assert kept.looks < 2 * 5000
