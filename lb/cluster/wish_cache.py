"""The wishes as they were applied last, in a file: a balancer that starts while etcd is away serves by them.

It is a copy of what etcd has, and no more than that. So a file that is torn, of another cluster or of a newer
version is left aside with a warning, and replaced when etcd was heard. `lb.config.whole_file` writes it.
"""

import os
import stat
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog
import trio

from lb.cluster.shared_wishes import Applied, Wish, decode
from lb.cluster.wish_store import WishStore
from lb.config import whole_file
from lb.etcd.etcd_messages import KeyValue
from lb.slices import sliced

log = structlog.get_logger()
State = tuple[int, int, Mapping[str, Wish]]
FORMAT = "trio-lb wishes"
VERSION = 1
REST = 1.0
"""Seconds between two writes."""
LAST = 2.0
"""Seconds for the last write, of a balancer that ends."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content, in JSON. Of each wish there is the revision of its key, and its value as etcd has it.

    `own` are the local overrides, which are nowhere else.
    """

    format: str
    version: int
    prefix: str
    cluster_id: int
    revision: int
    own: dict[str, str] = {}
    wishes: dict[str, tuple[int, str]]


class Cached(NamedTuple):
    """What was applied: all wishes of that etcd until this revision, each with the revision of its key.

    `own` are those of this balancer alone.
    """

    cluster_id: int
    revision: int
    own: Mapping[str, Wish]
    wishes: Mapping[str, tuple[int, bytes]]

    def keys(self, prefix: str) -> list[KeyValue]:
        """The wishes as keys of etcd."""
        return [
            KeyValue(key=f"{prefix}{key}".encode(), value=value, mod_revision=revision)
            for key, (revision, value) in self.wishes.items()
        ]


def encoding(
    cluster_id: int, revision: int, own: Mapping[str, Wish], applied: Mapping[str, Applied], prefix: str
) -> Generator[None, None, bytes]:
    """The content of the file, one wish with each step; `applied` must not change meanwhile."""
    head = _File(
        format=FORMAT,
        version=VERSION,
        prefix=prefix,
        cluster_id=cluster_id,
        revision=revision,
        own={key: msgspec.json.encode(wish).decode() for key, wish in own.items()},
        wishes={},
    )
    wishes = list[bytes]()
    for key, each in applied.items():
        if not each.value:
            continue  # it is not in etcd
        value = each.revision, each.value.decode()
        wishes.append(msgspec.json.encode(key) + b": " + msgspec.json.encode(value))
        yield
    return msgspec.json.encode(head).removesuffix(b"{}}") + b"{\n" + b",\n".join(wishes) + b"\n}}\n"


def decoded(data: bytes, prefix: str) -> Cached:
    """What the file of the cluster with this prefix holds. ValueError says why it is of no use."""
    try:
        raw: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(f"is torn, or holds no wishes: {exc}") from exc
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError("holds no wishes of trio-lb")
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ValueError(f"was written by a newer trio-lb (version {version}; this one reads {VERSION})")
    try:
        file = msgspec.convert(raw, _File)
        wishes = {key: (revision, value.encode()) for key, (revision, value) in file.wishes.items()}
        own = {key: decode(key, value.encode()) for key, value in file.own.items()}
    except ValueError as exc:
        raise ValueError(f"is invalid: {exc}") from exc
    if file.prefix != prefix:
        raise ValueError(f"is of the cluster {file.prefix}, and this one is {prefix}")
    return Cached(file.cluster_id, file.revision, own, wishes)


class WishCache:
    """The file at `path` of the cluster with this prefix. `run` is the task that writes it, with rests."""

    def __init__(self, path: str | os.PathLike[str], prefix: str, rest: float = REST) -> None:
        self._path = path
        self._prefix = prefix
        self._rest = rest
        self._written: State = (0, 0, {})
        self._is_failing = False

    def read(self) -> Cached | None:
        """What was applied last; None, with a warning where the file is of no use. It blocks."""
        try:
            if not stat.S_ISREG(os.stat(self._path).st_mode):  # reading a pipe would block
                raise ValueError("is not a regular file")
            return decoded(Path(self._path).read_bytes(), self._prefix)
        except FileNotFoundError:
            return None
        except OSError as exc:
            self._warn(f"cannot be read: {exc.strerror}")
        except ValueError as exc:
            self._warn(str(exc))
        return None

    async def begin(self, store: WishStore, own: Mapping[str, Wish] | None = None) -> bool:
        """Apply what was applied last, before the store runs; whether there was anything to go by.

        `own` are local overrides that are newer than those in the file.
        """
        cached = await trio.to_thread.run_sync(self.read)
        if cached is None:
            return False
        own = cached.own if own is None else own
        await store.begin_with(cached.cluster_id, cached.revision, cached.keys(self._prefix), own)
        self._written = _state(store)
        return True

    async def run(self, store: WishStore) -> None:
        """Write what the store has applied, at most once a second, until cancelled; then once more if due."""
        await trio.to_thread.run_sync(whole_file.sweep, self._path)
        try:
            while True:
                await store.until(lambda: self._written != _state(store))
                await self._write(store)
                await trio.sleep(self._rest)
        finally:
            if self._written != _state(store):
                with trio.move_on_after(LAST, shield=True):
                    await self._write(store)

    async def _write(self, store: WishStore) -> None:
        """Replace the file. What is applied meanwhile is written the next time, as is what failed."""
        state, applied = _state(store), {**store.applied}
        data = await sliced(encoding(*state, applied, self._prefix))
        try:
            await trio.to_thread.run_sync(whole_file.replace, self._path, data)
        except OSError as exc:
            if not self._is_failing:
                self._warn(f"cannot be written: {exc.strerror}")
            self._is_failing = True
        else:
            self._written, self._is_failing = state, False

    def _warn(self, note: str) -> None:
        log.warning("cache of the cluster's wishes", path=os.fspath(self._path), note=note)


def _state(store: WishStore) -> State:
    """Another one whenever something was applied, or is otherwise here."""
    return store.cluster_id, store.revision, {**store.overridden}
