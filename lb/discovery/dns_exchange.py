"""One question to one name server, by UDP or TCP, within a timeout.

The socket of a question is its own and is connected, so the kernel lets no answers of other addresses
through and tells where nothing listens. Its port and the id of the question are chance: an answer that
somebody else makes up has to guess both. What comes by UDP and is no answer to the question is passed over.
An answer that is truncated is asked for again by TCP, and nothing of the truncated one is used.
"""

import os
import socket
from secrets import randbelow
from typing import NamedTuple

import trio

from lb.discovery.dns_answer import Unhelpful
from lb.discovery.dns_message import (
    MOST_BYTES,
    Kind,
    Malformed,
    Message,
    Rcode,
    is_truncated,
    may_answer,
    question,
    reading,
)
from lb.net.addresses import Address
from lb.slices import sliced

UDP_SECONDS = 2.0
"""Longest wait for an answer by UDP, where packets get lost."""
TCP_SECONDS = 5.0
"""Longest wait for a whole answer by TCP, the connection included."""
MOST_STRAYS = 100
"""So many packets that are no answer are passed over."""
IDS = 65536
NO_EDNS = (Rcode.FORMERR, Rcode.NOTIMP, Rcode.BADVERS)
"""What name servers say that do not know EDNS."""


class Question(NamedTuple):
    """What is asked for, under which id."""

    name: bytes
    kind: Kind
    id: int
    is_extended: bool

    @property
    def wire(self) -> bytes:
        return question(self.name, self.kind, self.id, extended=self.is_extended)


async def ask(server: Address, name: bytes, kind: Kind, *, tcp: bool) -> Message:
    """The whole answer of this name server, whatever it says. Raises Unhelpful where there is none.

    It is not truncated, and read in slices. No socket is left open.
    """
    message = await _ask(server, _question(name, kind, is_extended=True), tcp=tcp)
    if message.rcode in NO_EDNS:
        message = await _ask(server, _question(name, kind, is_extended=False), tcp=tcp)
    return message


def _question(name: bytes, kind: Kind, *, is_extended: bool) -> Question:
    return Question(name, kind, randbelow(IDS), is_extended)


async def _ask(server: Address, asked: Question, *, tcp: bool) -> Message:
    if tcp:
        return await _by_tcp(server, asked)
    message = await _by_udp(server, asked)
    if message is not None:
        return message
    try:
        return await _by_tcp(server, asked)
    except Unhelpful as exc:
        raise Unhelpful(f"has a truncated answer, and by TCP {exc}", is_silent=exc.is_silent) from None


async def _by_udp(server: Address, asked: Question) -> Message | None:
    """The answer; None where it is truncated."""
    strays = ""
    family, where = server
    try:
        with trio.fail_after(UDP_SECONDS), trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect(where)
            await sock.send(asked.wire)
            for _ in range(MOST_STRAYS):
                wire = await sock.recv(MOST_BYTES)
                if may_answer(wire, asked.id) and is_truncated(wire):
                    return None
                try:
                    return await _read(wire, asked)
                except Malformed as exc:
                    strays = f", but something else: {exc}"
    except trio.TooSlowError:
        raise Unhelpful(f"gave no answer in {UDP_SECONDS:g} s{strays}", is_silent=True) from None
    except OSError as exc:
        raise Unhelpful(f"gave no answer: {_why(exc)}") from exc
    raise Unhelpful(f"gave no answer, but {MOST_STRAYS} packets that are none")


async def _by_tcp(server: Address, asked: Question) -> Message:
    family, where = server
    wire = asked.wire
    try:
        with trio.fail_after(TCP_SECONDS), trio.socket.socket(family, socket.SOCK_STREAM) as sock:
            await sock.connect(where)
            await _send_all(sock, len(wire).to_bytes(2, "big") + wire)
            size = int.from_bytes(await _receive(sock, 2), "big")
            answer = await _receive(sock, size)
            message = await _read(answer, asked)
    except trio.TooSlowError:
        raise Unhelpful(f"gave no whole answer by TCP in {TCP_SECONDS:g} s", is_silent=True) from None
    except OSError as exc:
        raise Unhelpful(f"gave no answer by TCP: {_why(exc)}") from exc
    except Malformed as exc:
        raise Unhelpful(f"gave something else than an answer by TCP: {exc}") from None
    if is_truncated(answer):
        raise Unhelpful("gave an answer that is truncated even by TCP")
    return message


async def _send_all(sock: trio.socket.SocketType, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[await sock.send(left) :]


async def _receive(sock: trio.socket.SocketType, size: int) -> bytes:
    """So many bytes; Malformed where the connection ends before."""
    data = b""
    while len(data) < size:
        more = await sock.recv(size - len(data))
        if not more:
            raise Malformed(f"the connection ended after {len(data)} of {size} bytes")
        data += more
    return data


async def _read(wire: bytes, asked: Question) -> Message:
    """The answer in these bytes; Malformed where they are none, or one to another question."""
    if not may_answer(wire, asked.id):
        raise Malformed("a message that is no answer to this question")
    message = await sliced(reading(wire))
    if message.asked is None and message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return message  # some repeat no question in an answer that says nothing else
    if message.asked != (asked.name, asked.kind):
        raise Malformed("an answer to another question")
    return message


def _why(exc: OSError) -> str:
    """What the system says, without the address that Trio has before it."""
    return os.strerror(exc.errno) if exc.errno else str(exc)
