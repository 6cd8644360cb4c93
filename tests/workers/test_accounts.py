"""A keeper with real workers: what they have counted is there after their end, though nobody has asked."""

import trio

import lb
from lb.workers.keeper import Keeper
from tests.kit.backend import Backend, answer
from tests.kit.client import GET, connected

REQUESTS = 12


async def test_what_was_counted_last_is_told_at_the_end() -> None:
    backend = Backend()
    listed = {"id": "one", "url": backend.url}
    keeper = Keeper(lb.build({"listen": ["127.0.0.1:0"], "pools": {"default": {"backends": [listed]}}}), 2)
    async with backend.answering(answer(b"hello")), trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        for _ in range(REQUESTS):
            client = await connected(keeper.control.listening[0])
            await client.says(GET)
            await client.hears(200)
            client.closes()
        assert keeper.metrics.flows == {}
        keeper.stop()
    backend.close()
    counts = keeper.metrics.listeners[keeper.control.listening[0]]
    assert (counts.accepted, counts.open, counts.in_flight) == (REQUESTS, 0, 0)
    assert keeper.registry.backends["one"].codes == {200: REQUESTS}
    workers = keeper.control.workers.list()
    assert [(each.state, each.restarts) for each in workers] == [("ended", 0), ("ended", 0)]
