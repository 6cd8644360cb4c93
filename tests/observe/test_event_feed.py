"""Events for many readers: slow ones, and ones that reconnect."""

import re
from collections.abc import Iterable

import msgspec
import pytest
import trio
import trio.testing

from lb.observe.event_feed import KEPT, PACE_SECONDS, QUEUE, Feed
from tests.kit import virtual_time

ALL = frozenset({"health", "drain", "stats"})
FIRST = 1000


def ids(chunk: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^id: (\d+)$", chunk, re.MULTILINE)]


def said(feed: Feed, numbers: Iterable[int], kind: str = "health") -> None:
    for number in numbers:
        feed.publish(kind, {"n": number})


def test_an_event_is_a_block_of_lines() -> None:
    feed = Feed(FIRST)
    reader = feed.join(ALL)
    feed.publish("health", {"why": "line\nend"})
    assert reader.take() == b'id: 1001\nevent: health\ndata: {"why":"line\\nend"}\n\n'
    assert reader.take() == b""


def test_all_readers_get_the_same_bytes() -> None:
    feed = Feed(FIRST)
    readers = [feed.join(ALL) for _ in range(3)]
    said(feed, range(1))
    first, *others = [reader._queue[0].data for reader in readers]
    assert all(data is first for data in others)


def test_a_reader_gets_the_types_that_it_wants() -> None:
    feed = Feed(FIRST)
    reader = feed.join(frozenset({"drain"}))
    said(feed, range(3))
    assert not feed.wants("health")
    said(feed, range(1), "drain")
    assert ids(reader.take()) == [1004]


def test_the_newer_replaces_the_older_and_ids_still_grow() -> None:
    feed = Feed(FIRST)
    reader = feed.join(ALL)
    for number in range(3):
        feed.publish_latest("stats", "stats", {"n": number})
    said(feed, range(2))
    feed.publish_latest("drain", "web1", {"n": 0})
    assert ids(reader.take()) == [1003, 1004, 1005, 1006]


def test_a_latest_event_is_not_rendered_without_readers_nor_kept() -> None:
    feed = Feed(FIRST)
    feed.publish_latest("stats", "stats", object())  # msgspec cannot encode it
    feed.join(ALL)
    feed.publish_latest("stats", "stats", {})
    assert ids(feed.join(ALL, str(FIRST)).take()) == []


def test_a_reader_that_reconnects_gets_the_events_after_its_last_one() -> None:
    feed = Feed(FIRST)
    said(feed, range(3))
    said(feed, range(1), "drain")
    assert ids(feed.join(ALL, "1002").take()) == [1003, 1004]
    assert ids(feed.join(frozenset({"drain"}), str(FIRST)).take()) == [1004]
    assert feed.join(ALL, "1004").take() == b""
    assert feed.join(ALL).take() == b""


def test_an_id_that_is_too_old_gets_missed_and_the_kept_events() -> None:
    feed = Feed(FIRST)
    said(feed, range(KEPT + 2))
    chunk = feed.join(ALL, str(FIRST)).take()
    assert chunk.startswith(b'id: 1002\nevent: missed\ndata: {"after":"1000"}\n\nid: 1003\n')
    assert len(ids(chunk)) == KEPT + 1
    assert b"missed" not in feed.join(ALL, "1002").take()


@pytest.mark.parametrize("after", ["7777", "x", "-1", "1.5", "9" * 5000, "\u0661"])
def test_an_unknown_id_gets_missed(after: str) -> None:
    feed = Feed(FIRST)
    said(feed, range(3))
    assert ids(feed.join(ALL, after).take()) == [1003]


def test_an_id_of_the_process_before_is_too_old() -> None:
    assert b"missed" in Feed(FIRST).join(ALL, "999").take()


def test_a_full_queue_drops_the_reader_and_tells_it() -> None:
    feed = Feed(FIRST)
    slow, quick = feed.join(ALL), feed.join(ALL)
    said(feed, range(QUEUE))
    quick.take()
    assert (feed.dropped, feed.readers) == (0, 2)
    said(feed, range(1))
    assert (feed.dropped, feed.readers) == (1, 1)
    last = slow.take()
    assert ids(last) == list(
        range(FIRST + 1, FIRST + 1 + QUEUE)
    )  # the client reconnects with the last of these
    assert last.endswith(b'event: ending\ndata: {"why":"too slow"}\n\n')
    assert slow.is_over
    assert ids(quick.take()) == [1001 + QUEUE]
    feed.leave(slow)
    feed.drop(slow)
    assert feed.dropped == 1


def test_closing_ends_every_reader_and_later_ones() -> None:
    feed = Feed(FIRST)
    early = feed.join(ALL)
    said(feed, range(1))
    feed.close("stopping")
    late = feed.join(ALL)
    for reader in (early, late):
        assert b"stopping" in reader.take()
        assert reader.is_over
    feed.open(1)
    assert feed.readers == 1  # `early` has not left yet
    feed.leave(early)
    assert not feed.is_full
    feed.join(ALL)
    assert feed.is_full


async def test_a_waiting_reader_is_woken_by_events_of_its_types() -> None:
    feed = Feed(FIRST)
    reader = feed.join(frozenset({"drain"}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.wait)
        await trio.testing.wait_all_tasks_blocked()
        said(feed, range(1))
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        said(feed, range(1), "drain")
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        reader.take()
        nursery.start_soon(reader.wait)
        await trio.testing.wait_all_tasks_blocked()
        feed.close("stopping")
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert reader.take()


@virtual_time
async def test_hand_round_wakes_readers_one_by_one() -> None:
    feed = Feed(FIRST)
    came: list[float] = []

    async def read(types: frozenset[str]) -> None:
        reader = feed.join(types)
        await reader.wait()
        came.append(trio.current_time())
        assert reader.take()
        await reader.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read, ALL)
        nursery.start_soon(read, frozenset({"health"}))
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        feed.publish_latest("stats", "stats", {})
        await trio.testing.wait_all_tasks_blocked()
        assert not came
        await feed.hand_round()
        await feed.hand_round()  # there is nothing to hand out
        assert [at - began for at in came] == pytest.approx([0, PACE_SECONDS, 2 * PACE_SECONDS])
        nursery.cancel_scope.cancel()


def test_hundreds_of_events_at_once_do_not_drop_a_reader() -> None:
    feed = Feed(FIRST)
    reader = feed.join(ALL)
    said(feed, range(500))
    assert len(ids(reader.take())) == 500
    assert feed.dropped == 0


def test_a_backend_may_be_called_like_an_event_type() -> None:
    feed = Feed(FIRST)
    reader = feed.join(ALL)
    feed.publish_latest("drain", "stats", {"n": 1})
    feed.publish_latest("stats", "stats", {"n": 2})
    assert ids(reader.take()) == [1001, 1002]


def test_the_newest_events_of_some_types_can_be_listed() -> None:
    feed = Feed(FIRST)
    said(feed, range(3))
    said(feed, range(1), "drain")
    said(feed, range(3, 5))
    shown = feed.newest(frozenset({"health"}), 3)
    assert [frame.type for frame in shown] == ["health"] * 3
    assert [frame.id for frame in shown] == sorted((frame.id for frame in shown), reverse=True)
    assert msgspec.json.decode(feed.newest(frozenset({"drain"}), 3)[0].body) == {"n": 0}
