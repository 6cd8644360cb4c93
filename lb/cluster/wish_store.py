"""The wishes of a cluster in etcd: how this balancer follows them, and how it adds to them.

    put ──transaction──> etcd ──watch──> pending ──applying──> registry

Only what the watch has brought is applied, here as on all other balancers: who adds a wish sees it come back.
Nothing is queued. A wish that etcd has not taken is not made, and one that was overtaken by another operator
is refused. While etcd is away all stays as it is.

So it does where etcd is another one, because its data were wiped or restored: it is followed by itself only
where no wish would be lost for it. Otherwise wishes are held until a person says which ones are right: those
of that etcd (`accept`), or those here (`put_back`), after which all balancers that have the same go on.
"""

from collections import ChainMap
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Mapping, Sequence

import structlog
import trio

from lb.cluster.another_history import Held, losing
from lb.cluster.applied_wishes import Base, applying
from lb.cluster.shared_wishes import BACKENDS, EVERYWHERE, Applied, Stamp, Wish, decode, named, taken_back
from lb.cluster.wish_batches import batches, parts
from lb.cluster.wish_puts import WishPuts
from lb.core.cluster_view import Overtaken
from lb.etcd.back_off import BackOff
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import AnotherEtcd, EtcdFailed
from lb.etcd.etcd_messages import MOST_OPERATIONS, Compare, KeyValue, is_as_of, none_put_since, was_created_at
from lb.etcd.prefix_follower import Beat, Follower, Pace
from lb.etcd.prefix_mirror import Difference, Mirror
from lb.slices import sliced

log = structlog.get_logger()
WISHES = "wishes/"
MOST_AT_ONCE = MOST_OPERATIONS - 1
"""Wishes of one transaction."""


class WishStore:
    """The wishes under `prefix`, which ends with a slash. `base` returns what they are applied to now.

    `applied` has the wishes that the registry follows, by key without the prefix. `revision` is the one until
    which all are applied, `newest` the newest among them, `cluster_id` says of which etcd. `unread` says of
    keys why their value cannot be read; what they said before holds on. `unfit` says of keys why their wish
    cannot be done here; it is tried again with each change. `overridden` has what this balancer alone wishes
    of some keys: what others wish of them is known, and not applied until `withdraw`. `failure` is why etcd
    is not followed just now, None while it is. Where that is AnotherEtcd, `held` says which wishes wait for
    the word of a person. `run` is the task; `chance` gives a number from 0 until 1.

    Wishes are applied while nobody else has `one_at_a_time`. `settled` waits until what was decided is so
    everywhere in this balancer.
    """

    def __init__(
        self,
        etcd: Etcd,
        prefix: str,
        base: Callable[[], Base],
        *,
        chance: Callable[[], float],
        pace: Pace = Pace(),  # noqa: B008  (a tuple)
        beat: Beat | None = None,
        one_at_a_time: trio.Lock | None = None,
        settled: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint,
    ) -> None:
        self.applied: dict[str, Applied] = {}
        self.unread: dict[str, str] = {}
        self.unfit: dict[str, str] = {}
        self.held: dict[str, Held] = {}
        self.failure: EtcdFailed | None = None
        self.overridden: dict[str, Wish] = {}
        self.cluster_id = 0
        self.revision = self.newest = 0
        self._one_at_a_time = one_at_a_time or trio.Lock()
        self._settled = settled
        self._to_apply_again = set[str]()
        self._is_applying = False
        self._etcd = etcd
        self._prefix = prefix
        self._base = base
        self._chance = chance
        self._mirror = Mirror(f"{prefix}{WISHES}".encode())
        self.follower = Follower(etcd, self._mirror, self._hear, chance=chance, pace=pace, beat=beat)
        self._wishes: dict[str, Wish] = {}
        self._pending: dict[str, KeyValue | None] = {}
        self._other: tuple[int, int] | None = None
        self._is_another = False
        self._has_lost = False
        self._news = trio.Event()
        self._progress = trio.Event()
        self._again = trio.Event()
        self._subscribers: list[Callable[[], None]] = []

    @property
    def wishes(self) -> dict[str, Wish]:
        """The wishes that are applied, by key."""
        return {**self._wishes}

    @property
    def not_followed(self) -> set[str]:
        """The backends that are not as they are wished to be."""
        return {named(key)[1] for key in (*self.overridden, *self.unfit, *self.unread)} - {""}

    @property
    def known_until(self) -> int:
        """The revision until which all wishes are applied of the etcd that is there; 0 if that is another."""
        return 0 if isinstance(self.failure, AnotherEtcd) else self.revision

    # -- following ---------------------------------------------------------------------------------------

    async def begin_with(
        self, cluster_id: int, revision: int, keys: Iterable[KeyValue], own: Mapping[str, Wish]
    ) -> None:
        """Apply what was applied before this process began, before `run`. etcd is compared with it then.

        `own` are the local overrides.
        """
        there = [*keys]
        self._mirror.take_over(cluster_id, revision, there)
        self.overridden = {**own}
        await self._apply({self._key(kv.key): kv for kv in there})
        for key, why in (await sliced(applying([*own], own, self._base()))).items():
            log.warning("a local override does not fit any more", key=key, why=why)

    async def run(self) -> None:
        """Follow etcd and apply what it brings, until cancelled. What fails is tried again."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._apply_on)
            back_off = BackOff(self._chance)
            while True:
                self._again = trio.Event()
                self._take_other()
                try:
                    await self.follower.run()
                except EtcdFailed as exc:
                    if self.failure is None:
                        back_off.well()
                    await self._fail(exc)
                with trio.move_on_after(back_off.pause()):
                    await self._again.wait()

    async def _fail(self, why: EtcdFailed) -> None:
        """Wishes stay as they are, unless none would be lost."""
        if isinstance(why, AnotherEtcd) and await self._loses_nothing():
            return
        if self.failure is None or isinstance(why, AnotherEtcd) > isinstance(self.failure, AnotherEtcd):
            log.warning("etcd is not followed; all wishes stay as they are", why=str(why))
        self.failure = why
        self._progressed()

    def _hear(self, difference: Difference) -> None:
        self._pending.update((self._key(kv.key), kv) for kv in difference.put)
        self._pending.update((self._key(key), None) for key in difference.gone)
        if self.failure is not None:
            log.info("etcd is followed again")
        self.failure, self.held = None, {}
        self._has_lost |= self._is_another
        self._is_another = False
        self._news.set()

    def _key(self, key: bytes) -> str:
        return key.decode(errors="replace").removeprefix(self._prefix)

    async def _apply_on(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            pending, self._pending = self._pending, {}
            await self._apply(pending)

    async def _apply(self, pending: dict[str, KeyValue | None]) -> None:
        """Apply what is pending; it is told that it is so once all processes of the balancer have it."""
        self._is_applying = True
        async with self._one_at_a_time:
            state = await sliced(self._applying(pending))
        await self._settled()
        self.cluster_id, self.revision = state
        self._is_applying = False
        self._progressed()

    def _applying(self, pending: dict[str, KeyValue | None]) -> Generator[None, None, tuple[int, int]]:
        """Apply what is pending, which is all that the mirror has now and is not applied: of which etcd and
        until which revision that is.
        """
        state = self._mirror.cluster_id, self._mirror.revision
        again, self._to_apply_again = self._to_apply_again, set()
        yield from self._missing(pending)
        read, gone = dict[str, Applied](), [key for key, kv in pending.items() if kv is None]
        for key, kv in pending.items():
            yield
            if (applied := self._read(key, kv)) is not None:
                read[key] = applied
        wishes = ChainMap({key: applied.wish for key, applied in read.items()}, self._wishes)
        # What did not fit before may do so now.
        keys = {*read, *self.unfit, *(again & wishes.keys())} - self.overridden.keys()
        self.unfit = yield from applying(keys, wishes, self._base())
        # Only now: while one was applied and another was not, no wish may be put in place of either.
        self.applied |= read
        self._wishes |= wishes.maps[0]
        self.newest = max([self.newest, *(each.revision for each in read.values())])
        for key in gone:
            self.applied.pop(key, None)
            self._wishes.pop(key, None)
            self.unfit.pop(key, None)
        for key in read.keys() & self.unfit.keys():
            log.warning("a wish of the cluster does not fit here", key=key, why=self.unfit[key])
        return state

    def _missing(self, pending: dict[str, KeyValue | None]) -> Generator[None, None, None]:
        """What is applied and not there in another etcd is wished no more, now that this one is followed."""
        has_lost, self._has_lost = self._has_lost, False
        there = self._mirror.keys  # of the list that was told; it may be another etcd's again before the end
        for key in [*self.applied] if has_lost else ():
            yield
            if self._full(key) not in there:
                pending.setdefault(key, None)

    def _read(self, key: str, kv: KeyValue | None) -> Applied | None:
        """What is wished now; None where it cannot be read. A key that was deleted wishes nothing."""
        self.unread.pop(key, None)
        if kv is None:
            before = self.applied.get(key)
            if before is None:
                return None
            return Applied(taken_back(key, before.wish, self._base().configured, {}), 0)
        try:
            return Applied(decode(key, kv.value), kv.mod_revision, kv.value)
        except ValueError as exc:
            self.unread[key] = str(exc)
            log.warning("a wish of the cluster cannot be read", key=key, why=str(exc))
            return None

    def apply_again(self, keys: Collection[str] | None = None) -> None:
        """What these wishes are applied to has changed; None: all of them."""
        self._to_apply_again |= set(self.applied if keys is None else keys)
        self._news.set()

    def override(self, key: str, wish: Wish | None) -> None:
        """This balancer alone has it so now; None: as the others."""
        if wish is None:
            self.overridden.pop(key, None)
        else:
            self.overridden[key] = wish
        self._progressed()

    def withdraw(self, key: str) -> bool:
        """Follow the wish of this key again; False where it was followed already."""
        own = self.overridden.pop(key, None)
        if own is None:
            return False
        if key not in self.applied:
            wish = self._wishes[key] = taken_back(key, own, self._base().configured, {})
            self.applied[key] = Applied(wish, 0)
        self.apply_again([key])
        return True

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` after each application, and when etcd is lost."""
        self._subscribers.append(tell)

    async def until_applied(self, revision: int) -> None:
        """Wait until what was put at this revision is applied here."""
        await self.until(lambda: self.revision >= revision)

    async def all_applied(self) -> None:
        """Wait until all is applied that is known."""
        while self._pending or self._to_apply_again or self._is_applying:
            await self._progress.wait()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until it is so. It is looked at after each application, and when etcd is lost."""
        while not is_so():
            await self._progress.wait()

    def _progressed(self) -> None:
        progress, self._progress = self._progress, trio.Event()
        progress.set()
        for tell in self._subscribers:
            tell()

    # -- another etcd ------------------------------------------------------------------------------------

    async def _loses_nothing(self) -> bool:
        """Whether the etcd that is there may be followed by itself, and will be: no wish is lost by that."""
        try:
            header, keys = await self._etcd.listing(self._mirror.prefix)
        except EtcdFailed:
            return False
        there = {self._key(kv.key): kv for kv in keys}
        self.held = await sliced(losing(self._wishes, there, self._base().configured))
        if self.held:
            return False
        log.warning("another etcd is followed, by which no wish is lost", revision=header.revision)
        self._other = header.cluster_id, header.revision
        self._again.set()
        return True

    def accept(self) -> list[str]:
        """Follow the etcd that is there though it is another one. The keys whose wishes here are lost."""
        why = self.failure
        if not isinstance(why, AnotherEtcd):
            return []
        self._other = why.cluster_id, why.revision
        self._again.set()
        return [*self.held]

    async def put_back(self) -> int:
        """Put the wishes that are held into the etcd that is there, which is followed then. How many.

        Errors are those of `put`; it may be done again.
        """
        there = {key: held.revision for key, held in self.held.items()}
        puts = WishPuts(self._etcd, self._prefix, Mirror(self._mirror.prefix))
        for keys in parts([*there], MOST_OPERATIONS):
            values = {key: self.applied[key].value for key in keys}
            await puts.put(values, [is_as_of(puts.full(key), there[key]) for key in keys])
        self._again.set()
        return puts.count

    def _take_other(self) -> None:
        """Follow the etcd that was found good, or that a person has accepted."""
        if self._other is not None:
            self._mirror.take_over(*self._other)
            self._other, self._is_another = None, True

    # -- adding ------------------------------------------------------------------------------------------

    async def put(
        self,
        wishes: Mapping[str, Wish],
        stamp: Stamp,
        alone_in: Collection[str] = (),
        seen: int | None = None,
    ) -> int:
        """Put these wishes, each in place of the one that is applied here. Returns the revision of the last.

        Up to MOST_AT_ONCE, less the pools of `alone_in`, are put at once or not at all. More are put in
        several transactions (`lb.cluster.wish_batches`), of which the first may be all that is done.

        They were made of what was applied at the revision `seen`, now unless it is given. `alone_in` are
        pools in which no wish at all may have been put since (EVERYWHERE: all). Overtaken, and no more was
        put, if there was one. NoAnswer says whether it is known that nothing was put; it is PutInPart where
        some was. AnotherEtcd, and nothing was put, where wishes are held.
        """
        if isinstance(why := self.failure, AnotherEtcd):
            raise AnotherEtcd(str(why), why.cluster_id, why.revision)
        if len(alone_in) >= MOST_AT_ONCE:
            raise ValueError(f"{len(alone_in)} pools at once are too many: {MOST_AT_ONCE - 1} is the most")
        seen = self.revision if seen is None else seen
        self._check_not_overtaken(wishes, seen)
        puts = self._puts()
        before, puts.revision = {key: self._revision_of(key) for key in wishes}, seen
        for values in batches(wishes, stamp, MOST_AT_ONCE - len(alone_in)):
            compares = [is_as_of(self._full(key), before[key]) for key in values]
            compares += [self._alone(pool, puts.revision) for pool in alone_in]
            compares += self._is_this_etcd()
            await puts.put(values, compares)
        return puts.revision

    def _check_not_overtaken(self, wishes: Mapping[str, Wish], seen: int) -> None:
        """Overtaken where it is known already, and where a wish would take the place of an unread one."""
        for key in wishes:
            if self._revision_of(key) > seen:
                raise Overtaken
            if key in self.unread:
                raise Overtaken(f"{key}: a newer version of this program has put what this one cannot read")

    async def sweep(self, keys: Sequence[str]) -> int:
        """Delete these wishes, but for those that have changed since (`lb.cluster.sweeping`). How many."""
        puts, count = self._puts(), 0
        for some in parts(keys, MOST_OPERATIONS):
            compares = [is_as_of(self._full(key), self._revision_of(key)) for key in some]
            if await puts.delete(some, compares):
                count += len(some)
        return count

    def _puts(self) -> WishPuts:
        return WishPuts(self._etcd, self._prefix, self._mirror)

    def _revision_of(self, key: str) -> int:
        applied = self.applied.get(key)
        return applied.revision if applied is not None else 0

    def _alone(self, pool: str, since: int) -> Compare:
        where = WISHES if pool == EVERYWHERE else f"{BACKENDS}{pool}/"
        return none_put_since(self._full(where), since)

    def _is_this_etcd(self) -> list[Compare]:
        """That it still has one of the keys that it had: no wish is put into an etcd that was wiped."""
        anchor = next(iter(self._mirror.keys.values()), None)
        if anchor is None or not anchor.create_revision:
            return []
        return [was_created_at(anchor.key, anchor.create_revision)]

    def _full(self, key: str) -> bytes:
        return f"{self._prefix}{key}".encode()
