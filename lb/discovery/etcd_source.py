"""A source: the keys with a prefix in etcd. A service puts its address there, with a lease as a rule.

    http://10.0.0.1:2379,http://10.0.0.2:2379,http://10.0.0.3:2379/services/web/

A value is a URL, or an object in JSON with a `url` and what else is said of it. The name of the backend is
what follows the prefix in the key, unless the object has an `id`.
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import NamedTuple

import msgspec
import structlog
import trio

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.backend_source import SourceFailed
from lb.discovery.collected import usable_id
from lb.discovery.lists import Entry
from lb.discovery.token_file import read_token
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_failed import AnotherEtcd, EtcdFailed, WatchEnded
from lb.etcd.etcd_messages import KeyValue
from lb.etcd.login import Login
from lb.etcd.prefix_follower import Follower, Pace
from lb.etcd.prefix_mirror import Difference, Mirror
from lb.http_client.server_url import server_of
from lb.settings.backend_spec import BackendSpec, default_id, parse_url
from lb.slices import sliced

log = structlog.get_logger()
GATHERED = 0.05
"""Seconds for which changes are gathered after a set was told."""
LONGEST_VALUE = 64 * 1024
EXPECTED = (
    "the URLs of endpoints with commas between them, and the prefix: http://10.0.0.1:2379/services/web/"
)


class Read(NamedTuple):
    """What is known of one key: its backend, if it ever could be read, and what is wrong with it now."""

    backend: Announcement | None
    complaint: str = ""


class EtcdSource:
    """Follows the prefix at `where`: the URLs of etcd's endpoints, the path of the last is the prefix.

    The password is the content of `password_file`, read when a run begins; `ca`, `chain` and `key` are the
    files for TLS. It outlives its runs: it knows which etcd it has followed, and what a key has said before.
    `chance` gives a number from 0 until 1.
    """

    kind = "etcd"

    def __init__(
        self,
        where: str,
        *,
        user: str | None = None,
        password_file: str | None = None,
        ca: str | None = None,
        chain: str | None = None,
        key: str | None = None,
        seconds: float = 1.0,
        patience: float = 5.0,
        pace: Pace = Pace(),  # noqa: B008  (a tuple)
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.where = where
        self._password_file = password_file
        self._login = Login(user or "")
        urls, prefix = parse_where(where)
        servers = [server_of(url, ca=ca, chain=chain, key=key)[0] for url in urls]
        self._etcd = Etcd(servers, login=self._login, chance=chance, seconds=seconds, patience=patience)
        self._mirror = Mirror(prefix.encode())
        self._follower = Follower(
            self._etcd, self._mirror, self._take, chance=chance, pace=pace, ended=_log_end
        )
        self._pending: deque[KeyValue | bytes] = deque()
        self._known: dict[bytes, Read] = {}
        self._other: AnotherEtcd | None = None
        self._news = trio.Event()

    def accept(self) -> bool:
        """Follow the etcd that is there with the next run, though it is another one. False if it is not.

        What it says then is judged as any set is, an empty one too.
        """
        if self._other is None:
            return False
        self._mirror.take_over(self._other.cluster_id, self._other.revision)
        self._other = None
        self._pending.clear()
        self._known.clear()
        return True

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """As in `Source`. After a run has failed the next one begins with a list."""
        self._login.password = await read_token(self._password_file) or ""
        self._news = trio.Event()
        self._other = None
        failures: list[Exception] = []

        async def until_it_fails(task: Callable[[], Awaitable[None]]) -> None:
            try:
                await task()
            except (EtcdFailed, SourceFailed) as exc:
                failures.append(exc)
                nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(until_it_fails, self._follower.run)
                nursery.start_soon(until_it_fails, partial(self._tell_on, tell))
        finally:
            self._etcd.close()
        why = failures[0]
        if not isinstance(why, AnotherEtcd):
            raise SourceFailed(str(why)) from why
        self._other = why
        raise SourceFailed(f"{why}; it is followed when that is accepted") from why

    # -- what is told ------------------------------------------------------------------------------------

    def _take(self, difference: Difference) -> None:
        """Remember what has changed. It is read in slices: a list may have ten thousand keys."""
        self._pending.extend(difference.put)
        self._pending.extend(difference.gone)
        self._news.set()

    async def _tell_on(self, tell: Callable[[Announced], None]) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._pending:
                await sliced(self._reading())
            # From here on it is as the mirror is now, whatever comes meanwhile.
            tell(await sliced(_whole(self._known)))
            await trio.sleep(GATHERED)

    def _reading(self) -> Generator[None, None, None]:
        """Read what is pending, one key with each step; what is left when it is closed stays pending."""
        while self._pending:
            kv = self._pending.popleft()
            if isinstance(kv, bytes):
                self._known.pop(kv, None)
            else:
                self._known[kv.key] = self._read(kv)
            yield

    def _read(self, kv: KeyValue) -> Read:
        try:
            return Read(_announcement(kv, self._mirror.prefix))
        except ValueError as exc:
            former = self._known.get(kv.key, Read(None)).backend
            kept = "; its former value is kept" if former else ""
            return Read(former, f"{_shown(kv.key)}: {exc}{kept}")


def parse_where(where: str) -> tuple[list[str], str]:
    """The endpoints' URLs, and the prefix. ValueError says what is wrong."""
    *others, last = where.split(",")
    scheme, separator, rest = last.partition("://")
    address, slash, path = rest.partition("/")
    if not separator or not path or any("/" in url.partition("://")[2] for url in others):
        raise ValueError(f"{where!r}: expected {EXPECTED}")
    return [*others, f"{scheme}://{address}"], slash + path


def _whole(known: Mapping[bytes, Read]) -> Generator[None, None, Announced]:
    """The set of these keys, which nobody changes meanwhile. Of two with one id the first counts.

    SourceFailed where none is of use though there are some: the prefix holds something else.
    """
    backends: dict[str, Announcement] = {}
    skipped = []
    for key in sorted(known):
        backend, complaint = known[key]
        if complaint:
            skipped.append(complaint)
        if backend is None:
            continue
        if backend.id in backends:
            skipped.append(f"{_shown(key)}: {backends[backend.id].url} has the id {backend.id} already")
        else:
            backends[backend.id] = backend
        yield
    if skipped and not backends:
        raise SourceFailed(f"none of its {len(known)} keys is of use: {skipped[0]}")
    return Announced(tuple(backends.values()), tuple(skipped))


def _announcement(kv: KeyValue, prefix: bytes) -> Announcement:
    """The backend of a key; ValueError says why there is none."""
    if len(kv.value) > LONGEST_VALUE:
        raise ValueError(f"its value is longer than {LONGEST_VALUE} bytes")
    value = kv.value.strip()
    is_object = value.startswith(b"{")
    entry = msgspec.json.decode(value, type=Entry) if is_object else Entry(url=value.decode())
    name = entry.id or _id_of(kv.key.removeprefix(prefix), entry.url)
    BackendSpec(
        id=name,
        url=entry.url,
        weight=1 if entry.weight is None else entry.weight,
        max_in_flight=entry.max_in_flight,
        max_connections=entry.max_connections,
    ).checked()
    return Announcement(
        id=name,
        url=entry.url,
        weight=entry.weight,
        backup=entry.backup,
        max_in_flight=entry.max_in_flight,
        max_connections=entry.max_connections,
        labels=entry.labels,
        notice=Notice(entry.notice),
    )


def _id_of(rest: bytes, url: str) -> str:
    """What follows the prefix, `host/1` as `host~1`; the address where nothing does."""
    name = rest.strip(b"/").decode(errors="replace").replace("/", "~")
    return usable_id(name) if name else default_id(*parse_url(url))


def _shown(key: bytes) -> str:
    return "".join(c if c.isprintable() else "?" for c in key[:200].decode(errors="replace"))


def _log_end(why: EtcdFailed) -> None:
    if not (isinstance(why, WatchEnded) and why.reason == "routine"):
        log.info("a watch of etcd has ended, and its keys are listed again", why=str(why))
