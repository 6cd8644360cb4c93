"""No lost drain: three etcds, five balancers, operators, and somebody who stops, kills and cuts all of them.

The truth is kept by the test itself, on the clock that all share: which balancer could have sent a request to
which backend, and when. Checked is that

- after an awaited drain was said to be sure, no balancer sends a request to that backend before it is ready
  again;
- no wish that was acknowledged is lost: each is applied everywhere in the end, unless another one has
  replaced it;
- all balancers have the same in the end, which is what etcd has.

FAULTS_SECONDS makes it longer. The last test plants a bug, which has to be found within a minute.
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from lb.cluster.awaited_drain import AwaitedDrain
from lb.cluster.shared_wishes import BackendWish, PoolWish, Stamp, Wish, backend_key, pool_key
from lb.cluster.waiting import begin, until_over
from lb.config.state_file import changes
from lb.core.cluster_view import Overtaken
from lb.etcd.etcd_failed import EtcdFailed
from lb.etcd.prefix_follower import Follower
from tests.cluster.balancers import PACE, PREFIX, TTL, ABalancer
from tests.cluster.test_shared_wishes import CONFIGURED
from tests.kit.etcd_servers import EtcdServers, etcd_servers, needs_etcd
from tests.kit.registrations import Registrations
from tests.kit.relay import Relay, relay

pytestmark = [needs_etcd, pytest.mark.alone]
SECONDS = float(os.environ.get("FAULTS_SECONDS", "8"))
PATIENCE = 20.0
"""Seconds for all to be equal once all is healed."""
PLANTED_SECONDS = 4.0
PLANTED_PATIENCE = 10.0
BACKENDS = ("a", "b", "c")
POOLS = {"a": "default", "b": "default", "c": "web"}
LOOK = 0.004
"""Seconds between two requests of a balancer."""


class Town:
    """Everything that there is, and what has been seen to go wrong."""

    def __init__(self, etcd: EtcdServers, lines: list[Relay], seed: int) -> None:
        self.etcd = etcd
        self.lines = lines
        self.chance = random.Random(seed)
        self.all = [ABalancer(f"lb-{number}", self._endpoints(number)) for number in range(5)]
        self.sure: dict[str, int] = {}
        """The backends that must not get a request, and the revision of the wish for that."""
        self.busy: set[str] = set()
        self.acknowledged: dict[str, int] = {}
        self.wrong: list[str] = []
        self.drains = self.unsure = 0
        self.is_calm = trio.Event()

    def _endpoints(self, number: int) -> list[str]:
        """Three balancers are each behind a line, which may cut them off; two reach all of etcd."""
        return [self.lines[number].url] if number < len(self.lines) else [*self.etcd.urls]

    # -- balancers ---------------------------------------------------------------------------------------

    async def serve(self, one: ABalancer) -> None:
        """Send made-up requests to what is ready, as long as this balancer may be sent any."""
        while True:
            await trio.sleep(LOOK)
            if not one.member.is_heard:
                continue  # it says so at /readyz, and whoever is in front of it stays away
            for id, revision in self.sure.items():
                backend = one.registry.backends.get(id)
                if backend is not None and backend.is_open:
                    self.wrong.append(f"{one.name} at {one.store.revision} uses {id}, drained at {revision}")

    # -- operators ---------------------------------------------------------------------------------------

    async def operate(self) -> None:
        """Drain a backend, wait for it, and bring it back."""
        while not self.is_calm.is_set():
            await trio.sleep(self.chance.random() * 0.2)
            free = [id for id in BACKENDS if id not in self.busy]
            if not free:
                continue
            id = self.chance.choice(free)
            self.busy.add(id)
            try:
                await self._drain_and_bring_back(self.chance.choice(self.all), id)
            finally:
                self.busy.discard(id)

    async def _drain_and_bring_back(self, one: ABalancer, id: str) -> None:
        key = backend_key(POOLS[id], id)
        revision = await self._put(one, key, BackendWish(admin_state="draining", drain=60.0))
        if revision:
            drain = await self._awaited(one, id, revision)
            if drain is not None and drain.is_over:
                self.drains += 1
                self.unsure += not drain.is_sure
                if drain.is_sure:
                    self.sure[id] = revision
                    await trio.sleep(0.3)
        self.sure.pop(id, None)
        await self._put(self.chance.choice(self.all), key, BackendWish())

    async def _put(self, one: ABalancer, key: str, wish: Wish) -> int:
        try:
            with trio.fail_after(4):
                revision = await one.store.put({key: wish}, Stamp(op=f"{self.chance.random()}"))
        except (EtcdFailed, Overtaken, trio.TooSlowError):
            return 0
        self.acknowledged[key] = revision
        return revision

    async def _awaited(self, one: ABalancer, id: str, revision: int) -> AwaitedDrain | None:
        try:
            with trio.move_on_after(4 * TTL):
                drain = await begin(one.etcd, PREFIX, id, revision, TTL)
                await until_over(
                    drain, one.etcd, PREFIX, chance=self.chance.random, now=trio.current_time, pace=PACE
                )
                return drain
        except EtcdFailed:
            pass
        return None

    # -- who stops and cuts them -------------------------------------------------------------------------

    async def trouble(self, seconds: float) -> None:
        """The first is a cut, so that there is one in the shortest run too."""
        until, do = trio.current_time() + seconds, self._cut
        while trio.current_time() < until:
            await trio.sleep(0.3 + self.chance.random())
            await do()
            do = self.chance.choice([self._stop, self._kill, self._cut, self._lose, self._slow])

    async def _stop(self) -> None:
        server = self.chance.choice(self.etcd.servers)
        server.stops()
        await trio.sleep(0.3 + 3 * self.chance.random())
        server.goes_on()

    async def _kill(self) -> None:
        server = self.chance.choice(self.etcd.servers)
        server.dies()
        await trio.sleep(self.chance.random())
        server.start()

    async def _cut(self) -> None:
        await self._with_a_line(Relay.refuses)

    async def _lose(self) -> None:
        await self._with_a_line(Relay.loses)

    async def _slow(self) -> None:
        await self._with_a_line(lambda line: setattr(line, "delay", 0.3))

    async def _with_a_line(self, do: Callable[[Relay], object]) -> None:
        line = self.chance.choice(self.lines)
        do(line)
        await trio.sleep(0.3 + 2 * self.chance.random())
        await self._change_something()
        await self._compact()
        line.heals()

    async def _change_something(self) -> None:
        """A wish of which those who are cut off do not hear. Operators may all wait for a drain just now."""
        wish = PoolWish(settings={"policy": self.chance.choice(("random", "ewma"))})
        await self._put(self.all[-1], pool_key("web"), wish)

    async def _compact(self) -> None:
        """Forget what was, as etcd does every few minutes; not where it has no leader just now."""
        truth = Registrations(self.etcd)
        truth.at = self.chance.randrange(3)
        with trio.move_on_after(2), suppress(AssertionError):
            await truth.compact()


async def live_through(etcd: EtcdServers, seconds: float, seed: int, patience: float = PATIENCE) -> Town:
    """So many seconds of trouble, and then all is healed."""
    async with relay(etcd[0].port) as one, relay(etcd[1].port) as two, relay(etcd[2].port) as three:
        town = Town(etcd, [one, two, three], seed)
        async with trio.open_nursery() as nursery:
            for each in town.all:
                nursery.start_soon(each.run)
                nursery.start_soon(town.serve, each)
            for each in town.all:
                await each.hears_of(1)
            async with trio.open_nursery() as operators:
                for _ in range(2):
                    operators.start_soon(town.operate)
                await town.trouble(seconds)
                town.is_calm.set()
            await etcd.all_ready()
            await look_at_the_end(town, patience)
            nursery.cancel_scope.cancel()
        for each in town.all:
            each.etcd.close()
    return town


async def look_at_the_end(town: Town, patience: float) -> None:
    """All have heard of the last wish, and have the same."""
    last = max(town.acknowledged.values(), default=1)
    with trio.move_on_after(patience):
        for one in town.all:
            await one.store.until_applied(last)
    for one in town.all:
        if one.store.revision < last:
            town.wrong.append(f"{one.name} is at {one.store.revision} and not at {last}")
    first = town.all[0]
    for key, revision in town.acknowledged.items():
        applied = first.store.applied.get(key)
        if applied is None or applied.revision < revision:
            town.wrong.append(f"{key} was put at {revision} and is lost")
    for one in town.all[1:]:
        if changes(CONFIGURED, one.registry) != changes(CONFIGURED, first.registry):
            town.wrong.append(f"{one.name} differs from {first.name}")


async def test_no_drain_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with etcd_servers(tmp_path, 3) as etcd:
        town = await live_through(etcd, SECONDS, seed=1)
    if "FAULTS_SECONDS" in os.environ:
        with capsys.disabled():
            print(f"{town.drains} drains awaited, {town.unsure} not sure, {len(town.wrong)} wrong")
    assert not town.wrong, town.wrong[:5]
    assert town.drains > 5


async def test_the_planted_bug_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A follower that does not list again after the end of its watch. One run may have bad luck."""
    began = trio.current_time()
    listed = Follower._list

    async def once(self: Follower) -> object:
        return self._etcd.current if self._mirror.is_listed else await listed(self)

    monkeypatch.setattr(Follower, "_list", once)
    for seed in range(1, 4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        async with etcd_servers(folder, 3) as etcd:
            town = await live_through(etcd, PLANTED_SECONDS, seed, PLANTED_PATIENCE)
        if town.wrong:
            if "FAULTS_SECONDS" in os.environ:
                with capsys.disabled():
                    print(f"the planted bug was found after {trio.current_time() - began:.0f} s")
            return
    raise AssertionError("nothing was found wrong")
