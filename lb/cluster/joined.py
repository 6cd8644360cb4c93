"""A balancer in its cluster: what it follows, what it tells, and what its operator changes on all of them.

    joined ─┬─ store       follows the wishes and applies them (`lb.cluster.wish_store`)
            │    └─ beat   keeps the lease on which its presence hangs (`lb.cluster.member`)
            ├─ cache       writes what is applied (`lb.cluster.wish_cache`), where there is a file for it
            ├─ reporting   tells how far it has come (`lb.cluster.reporting`)
            ├─ roster      follows who there is (`lb.cluster.member_roster`)
            └─ sweeping    deletes, once a day, what has had no effect for long (`lb.cluster.sweeping`)

It has no part in a request.
"""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from random import random

import msgspec
import structlog
import trio

from lb.about import VERSION
from lb.cluster.applied_wishes import Base, by_nobody
from lb.cluster.connecting import check_cache, endpoints, login, name_of
from lb.cluster.digests import of_configuration, of_secrets
from lb.cluster.member import About, Member, NameTaken
from lb.cluster.member_roster import Roster
from lb.cluster.reporting import Reporting
from lb.cluster.shared_changes import Known, LocalChange, RehearsedChange, WatchedRegistry
from lb.cluster.shared_wishes import Stamp, Wish, backend_key, decode, in_words, key_of, named, same
from lb.cluster.sweeping import sweeping
from lb.cluster.waiting import begin, everywhere, look_once, until_over
from lb.cluster.wish_cache import WishCache
from lb.cluster.wish_store import WishStore
from lb.core.cluster_view import (
    DrainEverywhere,
    MaybeShared,
    MemberView,
    NotShared,
    Overtaken,
    OwnWish,
    Standing,
)
from lb.core.registry import Conflict, Registry
from lb.etcd.endpoint import Endpoint
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import EtcdFailed, NoAnswer
from lb.etcd.prefix_follower import Pace
from lb.settings.balancer_settings import Config
from lb.settings.cluster_settings import ClusterSettings
from lb.slices import sliced

log = structlog.get_logger()
VERSION_OF_KEYS = "v1"
APPLY_SECONDS = 10.0
"""For a change that etcd has taken to come back and be applied here."""
OVERTAKEN_SECONDS = 1.0
LEAVE_SECONDS = 1.0
SWEEP_SECONDS = 86400.0
BEATS = 3
"""In the life of a lease."""


class Joined:
    """`lb.core.cluster_view.Together` of a balancer that has these settings. `run` is the task.

    It blocks: the password is read. `config` gives the current configuration, `read_secret` the secret in a
    file. `suffix` follows the name where another process has it already. `one_at_a_time` is held while a
    wish is applied, and `settled` waits until what was decided is so in all processes. `acting` is told whose
    wish is applied, once the wishes are known: what was wished before this program ran is no act. `own` are
    the local overrides of a program that this one replaces (`own_state`), in place of those in the cache.
    """

    is_shared = True

    def __init__(
        self,
        registry: Registry,
        config: Callable[[], Config],
        *,
        read_secret: Callable[[str | None], bytes],
        one_at_a_time: trio.Lock,
        settled: Callable[[], Awaitable[object]],
        acting: Callable[[str, Wish], AbstractContextManager[None]] = by_nobody,
        suffix: str = "",
        own: Mapping[str, str] | None = None,
        chance: Callable[[], float] = random,
    ) -> None:
        settings = config().cluster
        assert settings is not None
        self.settings: ClusterSettings = settings
        self.name = name_of(settings) + suffix
        self.known = trio.Event()
        """Set once the wishes are known, or it is not to be waited for them."""
        self.heard_at: float | None = None
        self.writes: Counter[str] = Counter()
        self._registry = registry
        self._config = config
        self._read_secret = read_secret
        self._chance = chance
        self._told_acts = acting
        self._pace = Pace(beat=settings.ttl / BEATS)
        self._etcd = Etcd(endpoints(settings), login=login(settings), chance=chance)
        self._prefix = f"{settings.prefix}/{VERSION_OF_KEYS}/"
        self._instance = secrets.token_hex(8)
        self._about = self._described()
        self._bug: EtcdFailed | None = None
        self.member = Member(
            self._etcd,
            self._prefix,
            self.name,
            self._about,
            ttl=int(settings.ttl),
            now=trio.current_time,
            applied=lambda: self.store.known_until,
        )
        self.store = WishStore(
            self._etcd,
            self._prefix,
            lambda: Base(config().pools, registry, config().timeouts.drain, self._acting),
            chance=chance,
            pace=self._pace,
            beat=self._beat,
            one_at_a_time=one_at_a_time,
            settled=settled,
        )
        self._handed_over = _decoded(own)
        self.store.overridden = {**(self._handed_over or {})}
        self.store.subscribe(self._progressed)
        self._reporting = Reporting(self.member, self.store, registry, lambda: self._about)
        self._roster = Roster(self._etcd, self._prefix, chance, self._pace)
        check_cache(settings)
        self._cache = None if settings.cache is None else WishCache(settings.cache, self._prefix)
        if settings.start == "config":
            self.known.set()

    async def run(self) -> None:
        """Until cancelled; then it leaves, so that nobody waits for it.

        Error boundary: a bug ends its part in the cluster, and it serves on with the wishes that it knows. It
        does not leave then, so that the others take it for lost, and not for one that serves no more.
        """
        try:
            await self._take_part()
        except Exception:
            log.exception("bug in the cluster: this balancer serves on with the wishes that it knows")
            self.store.failure = self._bug = EtcdFailed("a bug has ended its part; the log has it")
        except BaseException:
            with trio.move_on_after(LEAVE_SECONDS, shield=True), suppress(EtcdFailed):
                await self.member.leave()
            raise
        finally:
            self._etcd.close()

    async def _take_part(self) -> None:
        async with trio.open_nursery() as nursery:
            if self._cache is not None:
                if await self._cache.begin(self.store, self._handed_over):
                    self.known.set()
                    if self._handed_over is None:
                        log.info("started from the cache of the cluster's wishes", path=self.settings.cache)
                nursery.start_soon(self._cache.run, self.store)
            for task in (self.store.run, self._reporting.run, self._roster.follow, self._sweep_on):
                nursery.start_soon(task)

    async def _sweep_on(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS * (0.5 + self._chance()))  # not all of them at once
            with suppress(EtcdFailed, Overtaken):
                await self.sweep()

    async def sweep(self) -> int:
        """Delete wishes that have had no effect for long. How many; EtcdFailed where that cannot be."""
        digests = [about.config for about in (*self._roster.members.values(), self._about)]
        wishes, pools = self.store.wishes, self._config().pools
        return await self.store.sweep(await sliced(sweeping(wishes, pools, digests, datetime.now(UTC))))

    def configured(self) -> None:
        """The configuration is another one: what differs from it has to differ from that."""
        self._about = self._described()
        self.store.apply_again()
        self._reporting.wake()

    def _progressed(self) -> None:
        if self.store.revision:
            self.known.set()

    def _acting(self, key: str, wish: Wish) -> AbstractContextManager[None]:
        return self._told_acts(key, wish) if self.known.is_set() else by_nobody(key, wish)

    async def _beat(self, endpoint: Endpoint) -> bool:
        was_absent = await self.member.beat(endpoint)
        self.heard_at = trio.current_time()
        return was_absent

    def _described(self) -> About:
        """Who this is, with digests of the configuration, which take as long as that is large."""
        config = self._config()
        return About(
            instance=self._instance,
            version=VERSION,
            admin=config.admin.listen if config.admin.enabled else "",
            config=of_configuration(config),
            secrets=of_secrets(config, self._read_secret),
        )

    # -- changes -----------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        return self.store.revision

    async def rehearse(self, rehearsal: Registry, seen: int) -> RehearsedChange:
        if not self.store.revision:
            raise NotShared("the wishes of the cluster are not known yet")
        watched = WatchedRegistry(self._config().pools, rehearsal)
        await watched.begin(is_copy=True)

        async def put(wishes: Mapping[str, Wish], by: str, alone_in: set[str]) -> int:
            return await self._put(wishes, by, alone_in, seen)

        return RehearsedChange(watched, Known(self.store.wishes, self.store.overridden), put)

    async def _put(self, wishes: Mapping[str, Wish], by: str, alone_in: set[str], seen: int) -> int:
        result = "failed"
        if self._bug is not None or isinstance(self.store.failure, NameTaken):
            raise NotShared(str(self.store.failure))
        try:
            revision = await self.store.put(wishes, self._stamp(by), alone_in, seen)
            with trio.fail_after(APPLY_SECONDS):
                await self.store.until_applied(revision)
            result = "made"
        except Overtaken:
            result = "overtaken"
            raise
        except NoAnswer as exc:
            if exc.is_undone:
                raise NotShared(str(exc)) from exc
            result = "unknown"
            raise MaybeShared(str(exc)) from exc
        except EtcdFailed as exc:
            raise NotShared(str(exc)) from exc
        except trio.TooSlowError as exc:
            result = "unknown"
            raise MaybeShared(f"etcd has it, and has not told of it for {APPLY_SECONDS:g} s") from exc
        finally:
            self.writes[result] += 1
        return revision

    def _stamp(self, by: str) -> Stamp:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Stamp(op=secrets.token_hex(8), by=by, on=self.name, at=now)

    async def overtaken(self) -> None:
        revision = self.store.revision
        with trio.move_on_after(OVERTAKEN_SECONDS):
            await self.store.until(lambda: self.store.revision > revision)

    def tag(self, pool: str, backend_id: str) -> str:
        key = key_of(pool, backend_id)
        applied = self.store.applied.get(key)
        own = "-own" if key in self.store.overridden else ""
        return f"c{0 if applied is None else applied.revision}{own}"

    def tag_of_all(self) -> str:
        own = f"-{len(self.store.overridden)}" if self.store.overridden else ""
        return f"c{self.store.newest}-{self._about.config}{own}"

    # -- drains ------------------------------------------------------------------------------------------

    async def drained(self, backend_id: str, revision: int, seconds: float) -> DrainEverywhere:
        revision = revision or self._newest_of(backend_id)
        try:
            asker = {self.name: self._about}
            drain = await begin(self._etcd, self._prefix, backend_id, revision, self.settings.ttl, asker)
            if not seconds:
                await look_once(drain, self._etcd, self._prefix, trio.current_time())
                return everywhere(drain)
        except EtcdFailed as exc:
            raise NotShared(str(exc)) from exc
        with trio.move_on_after(seconds):
            await until_over(
                drain,
                self._etcd,
                self._prefix,
                chance=self._chance,
                now=trio.current_time,
                pace=self._pace,
            )
        return everywhere(drain)

    def _newest_of(self, backend_id: str) -> int:
        """The revision of the newest wish of this backend, in whichever pool."""
        keys = (backend_key(pool, backend_id) for pool in self._config().pools)
        wishes = (self.store.applied[key] for key in keys if key in self.store.applied)
        return max((each.revision for each in wishes), default=0) or self.store.revision

    # -- local overrides ---------------------------------------------------------------------------------

    async def rehearse_own(self) -> LocalChange:
        watched = WatchedRegistry(self._config().pools, self._registry)
        await watched.begin(is_copy=False)
        return LocalChange(watched, self._override)

    async def _override(self, wishes: Mapping[str, Wish], by: str) -> None:
        """Keep in mind that these are otherwise here; one that is as the others have it is no override."""
        await trio.lowlevel.checkpoint()
        stamp = self._stamp(by)
        for key, wish in wishes.items():
            applied = self.store.applied.get(key)
            is_as_others = applied is not None and same(applied.wish, wish)
            own = msgspec.structs.replace(wish, by=by, on=self.name, at=stamp.at)
            self.store.override(key, None if is_as_others else own)

    async def withdraw(self, pool: str, backend_id: str) -> bool:
        if not self.store.withdraw(key_of(pool, backend_id)):
            return False
        with trio.move_on_after(APPLY_SECONDS):
            await self.store.all_applied()
        return True

    def own_state(self) -> dict[str, str]:
        return {key: msgspec.json.encode(wish).decode() for key, wish in self.store.overridden.items()}

    def own_wishes(self) -> Sequence[OwnWish]:
        return [_own(key, wish) for key, wish in self.store.overridden.items()]

    def own_wish(self, pool: str, backend_id: str) -> OwnWish | None:
        key = key_of(pool, backend_id)
        wish = self.store.overridden.get(key)
        return None if wish is None else _own(key, wish)

    async def go_on(self, *, with_ours: bool) -> int:
        if not with_ours:
            return len(self.store.accept())
        try:
            return await self.store.put_back()
        except Overtaken as exc:
            raise Conflict("another balancer does the same: look at GET /cluster, and ask again") from exc
        except EtcdFailed as exc:
            raise MaybeShared(str(exc)) from exc

    # -- how it is ---------------------------------------------------------------------------------------

    async def members(self) -> Sequence[MemberView]:
        return await self._roster.views(self.name, self._about, self._reporting.status())

    async def forget(self, name: str) -> bool:
        try:
            return await self._roster.forget(name)
        except EtcdFailed as exc:
            raise NotShared(str(exc)) from exc

    def standing(self) -> Standing:
        failure, abouts = self.store.failure, {**self._roster.members, self.name: self._about}
        return Standing(
            name=self.name,
            prefix=self.settings.prefix,
            failure="" if failure is None else str(failure),
            is_known=self.known.is_set(),
            revision=self.store.revision,
            newest=self.store.newest,
            heard_at=self.heard_at,
            is_heard=self.member.is_heard,
            members=sorted(abouts),
            configs=sorted({about.config for about in abouts.values()}),
            secrets=sorted({about.secrets for about in abouts.values()}),
            unfit={**self.store.unread, **self.store.unfit},
            held={key: held.why for key, held in self.store.held.items()},
            own=self.own_wishes(),
            writes=self.writes,
            resyncs=self.store.follower.ends,
            leases_lost=self.member.times_lost,
        )

    def why_not_ready(self) -> str:
        if not self.known.is_set():
            why = self.store.failure
            return f"the wishes of the cluster are not known yet{f': {why}' if why else ''}"
        if self.settings.lost == "unready" and not self.member.is_heard:
            return "the other balancers of the cluster may have lost this one"
        return ""


def _own(key: str, wish: Wish) -> OwnWish:
    pool, backend_id = named(key)
    return OwnWish(pool, backend_id, in_words(wish), wish.by, wish.at)


def _decoded(own: Mapping[str, str] | None) -> dict[str, Wish] | None:
    return None if own is None else {key: decode(key, value.encode()) for key, value in own.items()}
