from lb.core.held import Held, Share


def test_a_share_is_bounded_by_the_pool_and_by_half_of_what_is_free() -> None:
    everything = Held(100)
    share = Share(everything, 30)
    assert share.room == 30
    share.holds(20)
    assert share.room == 10
    assert Share(everything, 1000).room == 40


def test_each_further_one_gets_less_and_none_gets_nothing() -> None:
    everything, got = Held(1 << 20), []
    for _ in range(15):
        share = Share(everything, 1 << 30)
        got.append(share.room)
        share.holds(share.room)
    assert got == sorted(got, reverse=True)
    assert got[-1] > 0
    assert everything.count <= 1 << 20


def test_what_was_held_is_given_back_and_the_peak_is_kept() -> None:
    everything = Held(100)
    share = Share(everything, 50)
    for count in (10, 40, 5):
        share.holds(count)
    assert (everything.count, share.peak) == (5, 40)
    share.close()
    share.close()
    assert everything.count == 0


def test_a_lower_limit_leaves_no_room() -> None:
    everything = Held(100)
    share = Share(everything, 50)
    share.holds(50)
    everything.most = 10
    assert share.room == Share(everything, 50).room == 0
