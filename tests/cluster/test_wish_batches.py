"""Many wishes in several transactions: none is forgotten, none is too large, and newcomers come first."""

from hypothesis import given
from hypothesis import strategies as st

from lb.cluster.shared_wishes import BackendWish, PoolWish, Stamp, Wish, backend_key, decode, pool_key
from lb.cluster.wish_batches import MOST_BYTES, batches, parts
from lb.settings.backend_spec import BackendSpec

LEAVES = BackendWish(admin_state="removed")
COMES = BackendWish(admin_state="draining")
kinds = st.lists(st.sampled_from([PoolWish(), COMES, LEAVES]), max_size=40)


@given(kinds, st.integers(1, 9))
def test_all_are_put_in_order_and_no_more_than_may_be_at_once(found: list[Wish], most: int) -> None:
    wishes = {
        pool_key(f"p{at}") if isinstance(wish, PoolWish) else backend_key("web", f"b{at}"): wish
        for at, wish in enumerate(found)
    }
    made = [*batches(wishes, Stamp(), most)]
    assert all(0 < len(batch) <= most for batch in made)
    assert len(made) == -(-len(wishes) // most)
    put = [decode(key, value) for batch in made for key, value in batch.items()]
    assert put == [wish for kind in (PoolWish(), COMES, LEAVES) for wish in found if wish == kind]


def test_large_ones_are_spread() -> None:
    labels = {"x": "y" * (MOST_BYTES // 3)}
    spec = BackendSpec(id="a", url="http://a.test:80", labels=labels)
    wishes = {f"wishes/backends/web/{number}": BackendWish(spec=spec) for number in range(5)}
    made = [*batches(wishes, Stamp(), 100)]
    assert [len(batch) for batch in made] == [2, 2, 1]


def test_one_that_is_larger_than_that_is_for_etcd_to_refuse() -> None:
    spec = BackendSpec(id="a", url="http://a.test:80", labels={"x": "y" * 2 * MOST_BYTES})
    assert [len(each) for each in batches({"wishes/backends/web/a": BackendWish(spec=spec)}, Stamp(), 9)] == [
        1
    ]


def test_parts() -> None:
    assert [*parts("abcde", 2)] == ["ab", "cd", "e"]
    assert [*parts("", 2)] == []
