"""What etcd's JSON gateway is asked, and what it answers.

Keys and values are bytes, which stand in JSON as base64. etcd writes its integers as strings and leaves out
what is zero. It also ignores fields that it does not know, so a field that is misspelt here would be one that
was not sent; each of them is tried on a real etcd in the tests.
"""

from typing import Literal, TypeVar

import msgspec

Answer = TypeVar("Answer", bound=msgspec.Struct)
MOST_OPERATIONS = 128
"""Of one transaction; etcd's own limit unless it was started with another one."""


def decode(data: bytes, kind: type[Answer]) -> Answer:
    """An answer of this kind; ValueError where it is none."""
    return msgspec.json.decode(data, type=kind, strict=False)


def end_of(prefix: bytes) -> bytes:
    """The first key behind all those with the prefix; for an empty one, etcd's sign for the end."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


# -- what is asked ---------------------------------------------------------------------------------------


class Range(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One key, or those from `key` until before `range_end`. A `revision` of 0 is the newest."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    sort_order: Literal["NONE", "ASCEND", "DESCEND"] = "NONE"
    sort_target: Literal["KEY", "MOD"] = "KEY"


class Put(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Put this value, for as long as the lease lives where there is one."""

    key: bytes
    value: bytes
    lease: int = 0


class Delete(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Delete one key, or those from `key` until before `range_end`."""

    key: bytes
    range_end: bytes = b""


class Operation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One of these."""

    request_range: Range | None = None
    request_put: Put | None = None
    request_delete_range: Delete | None = None


class Compare(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What must be so of a key, or of each one from `key` until before `range_end`. The functions make it."""

    key: bytes
    target: Literal["VERSION", "CREATE", "MOD", "VALUE"]
    result: Literal["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]
    range_end: bytes = b""
    mod_revision: int | None = None
    create_revision: int | None = None
    value: bytes | None = None


def is_as_of(key: bytes, revision: int) -> Compare:
    """The key was changed at this revision and not since. With 0: there is no such key."""
    return Compare(key=key, target="MOD", result="EQUAL", mod_revision=revision)


def was_created_at(key: bytes, revision: int) -> Compare:
    """It is the same key since it was created, whatever its value is. With 0: there is no such key."""
    return Compare(key=key, target="CREATE", result="EQUAL", create_revision=revision)


def has_value(key: bytes, value: bytes) -> Compare:
    """The key is there and has this value."""
    return Compare(key=key, target="VALUE", result="EQUAL", value=value)


def none_put_since(prefix: bytes, revision: int) -> Compare:
    """No key with the prefix was put after this revision. One that was deleted since goes unnoticed."""
    return Compare(
        key=prefix, range_end=end_of(prefix), target="MOD", result="LESS", mod_revision=revision + 1
    )


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """Do all of `success` if all of `compare` is so, otherwise all of `failure`."""

    compare: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()


class Grant(msgspec.Struct, frozen=True):
    """A lease of so many seconds."""

    TTL: int


class LeaseId(msgspec.Struct, frozen=True):
    """The lease that is kept alive, or revoked."""

    ID: int


class Watch(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Tell what happens to the keys from `key` until before `range_end`, from a revision on."""

    key: bytes
    range_end: bytes
    start_revision: int
    progress_notify: bool = False


class CreateWatch(msgspec.Struct, frozen=True):
    """The only thing that can be said on a watch: over HTTP/1.1 etcd hears nothing before the body's end."""

    create_request: Watch


class Authenticate(msgspec.Struct, frozen=True):
    """Who we are."""

    name: str
    password: str


# -- what is answered ------------------------------------------------------------------------------------


class Header(msgspec.Struct, frozen=True):
    """Which etcd has answered, and the revision that it was at."""

    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0


class KeyValue(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it was after the change at `mod_revision`; of a deleted one nothing else is told."""

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class RangeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The keys in order, and `count`: how many there are without the limit."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0


class OperationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a range within a transaction has found."""

    response_range: RangeAnswer | None = None


class TransactionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether all of `compare` was so, and what the operations gave."""

    header: Header = Header()
    succeeded: bool = False
    responses: tuple[OperationAnswer, ...] = ()


class LeaseAnswer(msgspec.Struct, frozen=True):
    """A lease that was granted."""

    ID: int
    TTL: int


class Kept(msgspec.Struct, frozen=True):
    """A lease that was kept alive; of one that is gone there is no TTL."""

    TTL: int = 0


class KeptAnswer(msgspec.Struct, frozen=True):
    """The only message of the stream of one that was kept alive."""

    result: Kept


class Token(msgspec.Struct, frozen=True):
    """What shows who we are, for five minutes after each use unless etcd was told otherwise."""

    token: str


class Nothing(msgspec.Struct, frozen=True):
    """An answer whose content is of no use."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A key was put or deleted."""

    kv: KeyValue
    type: Literal["PUT", "DELETE"] = "PUT"


class WatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Events in order, or that the watch was created, or canceled; without any of these, a sign of life."""

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    events: tuple[Event, ...] = ()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why it does not, by the code of gRPC. Versions of the gateway use different names for the same."""

    error: str = ""
    message: str = ""
    code: int = 0
    grpc_code: int = 0


class WatchLine(msgspec.Struct, frozen=True):
    """A line of a watch: one of these."""

    result: WatchAnswer | None = None
    error: Refusal | None = None
