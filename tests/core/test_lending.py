"""Places that are lent: never more in use than the cap, and nobody waits while one is free."""

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.lending import Ledger, Lend, Uses, evenly
from lb.core.lent_out import Rows
from lb.core.lent_places import HOLD_SECONDS, LOOKS
from tests.core.lending_world import World, world


def lent(scene: World, name: str = "a") -> list[int]:
    """The cap of each worker; -1 for none."""
    caps = [worker.registry.backend(name).cap for worker in scene.workers.values()]
    return [-1 if cap is None else cap for cap in caps]


@given(st.integers(0, 40), st.dictionaries(st.integers(1, 9), st.integers(0, 20)))
def test_an_even_division_is_even(total: int, wishes: dict[int, int]) -> None:
    parts = evenly(total, wishes)
    assert sum(parts.values()) == min(total, sum(wishes.values()))
    assert all(parts[each] <= wishes[each] for each in wishes)
    for each, part in parts.items():
        if part < wishes[each]:
            assert part >= max(parts.values()) - 1


@pytest.mark.parametrize(("cap", "parts"), [(1, [0, 0, 1]), (2, [0, 1, 1]), (5, [1, 2, 2]), (9, [3, 3, 3])])
def test_at_first_all_have_the_same(cap: int, parts: list[int]) -> None:
    scene = world(3, cap)
    assert sorted(lent(scene)) == parts
    assert scene.told <= 6


def test_what_cannot_be_divided_goes_to_others_with_each_backend() -> None:
    scene = world(3, 1, 1, 1)
    assert sorted(tuple(lent(scene, name)) for name in "abc") == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]


def test_no_message_while_there_is_room() -> None:
    scene = world(3, 9)
    before = scene.told
    for worker in scene.workers.values():
        for _ in range(3):
            worker.request().end()
    scene.trips()
    assert scene.told == before


def test_one_worker_gets_all_that_the_others_do_not_use() -> None:
    scene = world(3, 9)
    requests = [scene.workers[1].request() for _ in range(12)]
    assert [each.backend is not None for each in requests] == [True] * 3 + [False] * 9
    scene.trips(3)
    assert scene.in_flight("a") == 9
    assert lent(scene) == [9, 0, 0]


def test_what_is_used_is_given_back_when_its_request_ends() -> None:
    scene = world(2, 4)
    long = [scene.workers[2].request() for _ in range(2)]
    [scene.workers[1].request() for _ in range(4)]
    scene.trips()
    assert scene.in_flight("a") == 4
    long[0].end()
    scene.trips(3)
    assert (len(scene.workers[1].running), len(scene.workers[2].running)) == (3, 1)


def test_who_waits_for_what_others_use_is_waited_for_in_silence() -> None:
    """Each of the others is asked once; the next place that is given back goes to who waits."""
    scene = world(3, 2)
    long = [worker.request() for worker in scene.workers.values()]
    scene.trips(3)
    [late] = [each for each in long if each.backend is None]
    before = scene.told
    scene.trips(30)
    assert scene.told - before <= 3
    next(each for each in long if each.backend is not None).end()
    scene.trips(3)
    assert late.backend is not None


def test_where_all_want_more_they_have_the_same() -> None:
    scene = world(3, 9)
    for _ in range(9):
        scene.workers[1].request()
        scene.trip()
    for _ in range(6):
        for worker in scene.workers.values():
            worker.request()
    for _ in range(60):
        scene.trips(1, HOLD_SECONDS)
        for worker in scene.workers.values():
            if worker.running:
                worker.running[0].end()
                worker.request()
    assert all(len(worker.running) >= 2 for worker in scene.workers.values())
    assert scene.in_flight("a") >= 7


def test_one_place_goes_around() -> None:
    scene = world(3, 1)
    served: list[int] = []
    scene.check = lambda _backend, _count: served.append(
        max(worker.number for worker in scene.workers.values() if worker.running)
    )
    for worker in scene.workers.values():
        for _ in range(5):
            worker.request()
    for _ in range(40):
        scene.trips(2, HOLD_SECONDS)
        for worker in scene.workers.values():
            for each in [*worker.running]:
                each.end()
    assert Counter(served) == {1: 5, 2: 5, 3: 5}
    turns = [worker for worker, _ in groupby(served)]
    assert all(len(set(turns[at : at + 3])) == 3 for at in range(len(turns) - 2))


def test_short_requests_do_not_send_the_place_around_each_time() -> None:
    scene = world(2, 1)
    for worker in scene.workers.values():
        for _ in range(60):
            worker.request()
    before = scene.told
    ended = 0
    for _ in range(600):
        scene.trips(1, 0.0005)
        for worker in scene.workers.values():
            for each in [*worker.running]:
                each.end()
                ended += 1
                if ended > 100:
                    break
    assert scene.told - before < 50
    assert scene.waiting == 0


def test_the_places_of_one_that_died_go_to_the_others_and_its_successor_gets_some() -> None:
    scene = world(2, 4)
    [scene.workers[1].request() for _ in range(9)]
    [scene.workers[2].request() for _ in range(2)]
    scene.trips()
    scene.kill(2)
    scene.trips()
    assert scene.in_flight("a") == 4
    scene.start(2)
    scene.trips()
    request = scene.workers[2].request()
    scene.trips(20)
    scene.workers[1].running[0].end()
    scene.trips()
    assert request.backend is not None


def test_a_lower_cap_lets_nobody_in_until_enough_have_left() -> None:
    scene = world(2, 4)
    mine = [scene.workers[1].request() for _ in range(2)]
    [scene.workers[2].request() for _ in range(2)]
    scene.cap("a", 2)
    scene.trips()
    late = scene.workers[1].request()
    mine[0].end()
    scene.trips(20)
    assert late.backend is None
    mine[1].end()
    scene.trips(20)
    assert late.backend is None
    scene.workers[2].running[0].end()
    scene.trips(20)
    assert late.backend is not None


def test_a_higher_cap_lets_in_who_waits() -> None:
    scene = world(2, 1)
    requests = [worker.request() for worker in scene.workers.values() for _ in range(2)]
    scene.trips()
    scene.cap("a", 4)
    scene.trips()
    assert all(each.backend is not None for each in requests)


def test_a_cap_where_there_was_none_counts_what_runs_already() -> None:
    scene = world(2, None)
    [worker.request() for worker in scene.workers.values() for _ in range(3)]
    scene.cap("a", 4)
    late = scene.workers[1].request()
    assert late.backend is not None
    scene.trips()
    queued = scene.workers[1].request()
    for _ in range(3):
        scene.trips()
        assert queued.backend is None
        scene.workers[2].running[0].end()
    scene.trips()
    assert queued.backend is None
    scene.workers[1].running[0].end()
    scene.trips()
    assert queued.backend is not None
    scene.cap("a", None)
    scene.trips()
    assert lent(scene) == [-1, -1]
    assert [scene.workers[2].request().backend is not None for _ in range(9)] == [True] * 9


def test_the_cap_of_a_pool_is_lent_too() -> None:
    scene = world(3, None, None, max_in_flight=4)
    requests = [scene.workers[1].request() for _ in range(6)]
    scene.trips()
    assert sum(each.backend is not None for each in requests) == 4
    requests[0].end()
    scene.trips()
    assert scene.running == 4
    scene.registry.configure(scene.registry.pools["default"], scene.settings)
    assert scene.running == 4


def test_a_backend_on_trial_has_one_place_which_comes_to_who_has_requests() -> None:
    scene = world(3, None, 5)
    for name in ("a", "b"):
        backend = scene.registry.backend(name)
        backend.outcomes.begin_trial(scene.clock.now)
        backend.derive()
        scene.registry.members.subscribers.tell("trial", backend)
        scene.registry.members.reconsider(scene.registry.pools["default"])
    scene.trips()
    assert sorted(lent(scene, "a")) == sorted(lent(scene, "b")) == [0, 0, 1]
    for number in (1, 2, 3):
        requests = [scene.workers[number].request() for _ in range(3)]
        scene.trips(4)
        assert {each.backend.id for each in requests if each.backend is not None} == {"a", "b"}
        assert scene.running == 2
        while scene.workers[number].running:
            scene.workers[number].running[0].end()


def test_a_place_on_a_backend_on_trial_comes_to_who_has_requests_though_none_waits() -> None:
    scene = world(3, None, None)
    backend = scene.registry.backend("a")
    backend.outcomes.begin_trial(scene.clock.now)
    backend.derive()
    scene.registry.members.subscribers.tell("trial", backend)
    scene.registry.members.reconsider(scene.registry.pools["default"])
    scene.trips()
    for number in (1, 2, 3):
        for _ in range(3):
            scene.workers[number].request().end()
            scene.trips(50)
        assert lent(scene, "a") == [int(each == number) for each in (1, 2, 3)]
    before = scene.told
    for _ in range(500):
        for worker in scene.workers.values():
            worker.request()
            worker.running[0].end()
        scene.trips(1)
    assert scene.told - before < 5 * 3 * 6


def test_a_removed_backend_may_come_back() -> None:
    scene = world(2, 3)
    old = scene.workers[1].request()
    scene.registry.remove(scene.registry.backend("a"))
    scene.add("a", 2)
    scene.trips()
    new = [scene.workers[2].request() for _ in range(3)]
    scene.trips()
    assert sum(each.backend is not None for each in new) == 2 - (not old.cuts)


def test_of_many_full_backends_some_are_asked_for_at_a_time_until_one_has_a_place() -> None:
    scene = world(2, *[1] * (3 * LOOKS))
    first, second = scene.workers.values()
    [first.request() for _ in range(100)]
    scene.trips(300)
    assert first.pool.waiting == 100 - 3 * LOOKS
    waits = second.request()
    first.running[-1].end()
    scene.trips(300)
    assert first.pool.waiting == 3 if waits.backend is None else 4


def test_without_a_queue_a_request_waits_for_a_place_that_nobody_uses_and_for_no_other() -> None:
    scene = world(2, 4, queue=0)
    requests = [scene.workers[1].request() for _ in range(6)]
    assert [each.is_waiting for each in requests] == [False, False, True, True, False, False]
    assert all("wait already" in (each.why or "") for each in requests[4:])
    assert requests[2].ticket.is_beyond
    scene.trips(3)
    assert scene.in_flight("a") == 4


def test_before_a_place_is_given_back_its_idle_connection_can_be_closed() -> None:
    scene = world(2, 2)
    said: list[object] = []
    first = scene.workers[1]
    first.lent.on_fewer = lambda backend: said.append((backend.id, backend.cap, [*first.up]))
    [scene.workers[2].request() for _ in range(2)]
    scene.trips(3)
    assert scene.in_flight("a") == 2
    assert said == [("a", 0, [])]


def test_what_was_said_before_others_were_lent_is_not_taken_for_the_answer() -> None:
    told: list[Lend] = []
    ledger = Ledger(2, lambda worker, lend: told.append(lend))
    for worker in (1, 2):
        ledger.join(worker)
    thing = ("backend", "a")
    ledger.cap(thing, 2)
    ledger.heard(1, Uses(thing, told[0].number, 0, 0, False))
    ledger.heard(2, Uses(thing, told[1].number, 0, 0, False))
    ledger.heard(1, Uses(thing, told[0].number, 0, 2, True))
    held = [account.held for account in ledger.things[thing].accounts.values()]
    assert held == [1, 1]
    ledger.heard(2, Uses(thing, told[1].number, 0, 0, False))
    assert sum(account.held for account in ledger.things[thing].accounts.values()) == 2
    ledger.heard(2, Uses(thing, told[-1].number, 0, 0, False))
    assert [account.held for account in ledger.things[thing].accounts.values()] == [2, 0]


def test_a_row_is_for_another_name_once_all_have_forgotten_the_first() -> None:
    rows, forgotten = Rows(16, 18), False
    first, second = rows.take(("backend", "a")), rows.take(("pool", "a"))
    assert (first, second, rows.take(("backend", "b"))) == (16, 17, 0)
    rows.leave(("backend", "a"), lambda: forgotten)
    assert rows.take(("backend", "b")) == 0
    assert rows.take(("backend", "a")) == 16
    forgotten = True
    assert rows.take(("backend", "b")) == 0
    rows.leave(("backend", "a"), lambda: forgotten)
    assert (rows.take(("backend", "b")), rows.used) == (16, 18)


def test_nothing_is_lent_before_all_have_said_what_they_use_without_a_cap() -> None:
    scene = world(2, None)
    first, second = scene.workers.values()
    [first.request() for _ in range(3)]
    scene.cap("a", 3)
    while second.down:
        second.hear()
        second.settle()
        while second.up:
            scene.ledger.heard(2, second.up.popleft())
    late = second.request()
    assert late.backend is None
    scene.trips(30)
    assert late.backend is None
    first.running[0].end()
    scene.trips()
    assert late.backend is not None
