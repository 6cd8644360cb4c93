"""From the log of handshakes to JSON: those that were refused and why, and how many there were."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from admin.views.times import timestamp

MOST_KEPT = 100

if TYPE_CHECKING:
    from lb.certificate_files.handshake_log import HandshakeLog
    from lb.tls.refusal import Refusal


class RefusedHandshake(msgspec.Struct, kw_only=True):
    """One handshake that was refused: what the client offered, in its order; the reason, and what would help.

    `server_name` is "" where the client named none, and nothing was offered where no ClientHello came.
    """

    at: str
    peer: str
    listener: str
    server_name: str
    versions: list[str]
    protocols: list[str]
    ciphers: list[str]
    reason: str
    sentence: str
    help: str


class RefusalCount(msgspec.Struct, kw_only=True):
    """How many handshakes were refused at a listener for a reason."""

    listener: str
    reason: str
    count: int


class HandshakeCount(msgspec.Struct, kw_only=True):
    """How many handshakes succeeded at a listener, in a version, by resuming a session or without."""

    listener: str
    version: str
    resumed: bool
    count: int


class HandshakeList(msgspec.Struct, kw_only=True):
    """The last handshakes that were refused, the newest first, and the counts of all since the start."""

    items: list[RefusedHandshake]
    refused: list[RefusalCount]
    done: list[HandshakeCount]


def handshakes(log: "HandshakeLog | None", most: int) -> HandshakeList:
    """So many of the last that were refused; nothing without TLS."""
    if log is None:
        return HandshakeList(items=[], refused=[], done=[])
    return HandshakeList(
        items=[_refused(each) for each in log.last()[:most]],
        refused=[*_refusals(log)],
        done=[
            HandshakeCount(listener=listener, version=version, resumed=is_resumed, count=count)
            for (listener, version, is_resumed), count in sorted(log.done.items())
        ],
    )


def _refused(refusal: "Refusal") -> RefusedHandshake:
    return RefusedHandshake(
        at=timestamp(refusal.at),
        peer=refusal.peer,
        listener=refusal.listener,
        server_name=refusal.server_name,
        versions=[*refusal.versions],
        protocols=[*refusal.protocols],
        ciphers=[*refusal.ciphers],
        reason=refusal.reason,
        sentence=refusal.sentence,
        help=refusal.help,
    )


def _refusals(log: "HandshakeLog") -> Iterator[RefusalCount]:
    """The most frequent first."""
    for (listener, reason), count in log.failed.most_common():
        yield RefusalCount(listener=listener, reason=reason, count=count)
