"""What a worker is yet to be told: each name once, in an order that serves requests."""

from lb.workers.outbox import Name, Outbox

A, B, C = (Name("backend", each) for each in "abc")
POOL, OTHER = Name("pool", "default"), Name("pool", "other")


def told(outbox: Outbox) -> list[str]:
    return [name.name or name.kind for name in outbox.take(100)]


def test_each_is_told_once_in_the_order_of_the_first_marks() -> None:
    outbox = Outbox()
    for name in (A, B, A, C, B):
        outbox.mark(name)
    assert told(outbox) == ["a", "b", "c"]
    assert not outbox


def test_what_leaves_goes_behind_what_comes() -> None:
    outbox = Outbox()
    outbox.mark(A)
    outbox.mark(B)
    outbox.mark(A, leaves=True)
    outbox.mark(C)
    outbox.mark(A)
    assert told(outbox) == ["b", "a", "c"]


def test_a_pool_comes_before_all_that_needs_it() -> None:
    """Also where its backend was marked before: it was removed, and added again in another pool."""
    outbox = Outbox()
    outbox.mark(A, leaves=True)
    outbox.mark(Name("settings"))
    outbox.mark(POOL)
    outbox.mark(A)
    assert told(outbox) == ["default", "a", "settings"]


def test_a_pool_that_is_gone_comes_last_unless_it_comes_back() -> None:
    outbox = Outbox()
    for name in (POOL, OTHER, A):
        outbox.mark(name)
    outbox.mark(POOL, leaves=True)
    outbox.mark(OTHER, leaves=True)
    outbox.mark(B)
    outbox.mark(OTHER)
    assert told(outbox) == ["other", "a", "default", "b"]


def test_a_host_comes_behind_the_backends_that_have_it() -> None:
    outbox = Outbox()
    outbox.mark(A)
    outbox.mark(Name("host", "h"))
    outbox.mark(A, leaves=True)
    outbox.mark(B)
    assert told(outbox) == ["a", "b", "h"]


def test_marks_count_as_taken_when_none_waits() -> None:
    outbox = Outbox()
    for name in (A, B, A):
        outbox.mark(name)
    assert (outbox.take(1), outbox.taken, outbox.marked) == ([A], 0, 3)
    outbox.mark(C)
    assert (outbox.take(2), outbox.taken) == ([B, C], 4)
