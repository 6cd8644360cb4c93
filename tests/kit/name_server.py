"""A name server that speaks real packets, by UDP and TCP on one port. A test says what it answers:

    async with name_server() as dns:
        dns.has("web.example", "A", "10.0.0.1", "10.0.0.2", ttl=5)
        dns.does("web.example", "AAAA", Rcode.SERVFAIL)

Names are absolute. It answers NXDOMAIN to a name that it has not heard of, and an empty answer to a type that
a name does not have. Its messages are dnspython's, which shares no code with the balancer.
"""

import socket
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple, TypeVar

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

from lb.slices import at_once

T = TypeVar("T")
Rcode = dns.rcode.Rcode
Answer = dns.message.Message
BY_UDP = 512
"""How long an answer by UDP may be, for a question that says nothing of it."""


class Asked(NamedTuple):
    """A question that has come: when, what, how, and whether it had EDNS."""

    at: float
    name: str
    kind: str
    by: str
    has_edns: bool


class Silent(Exception):
    """The server says nothing."""


class Raw(NamedTuple):
    """Bytes that are sent instead of an answer. The first two are those of the question if it `has_id`."""

    data: bytes
    has_id: bool = True


Deed = Callable[[Answer, str], Answer | Raw]
"""What is done with a good answer before it is sent by "udp" or "tcp"."""


def silence(_answer: Answer, _by: str) -> Answer:
    raise Silent


def truncated(answer: Answer, by: str) -> Answer:
    """By UDP nothing but a mark that there is more."""
    if by == "udp":
        answer.answer, answer.additional = [], []
        answer.flags |= dns.flags.TC
    return answer


def always_truncated(answer: Answer, _by: str) -> Answer:
    answer.flags |= dns.flags.TC
    return answer


def silent_by_tcp(answer: Answer, by: str) -> Answer:
    if by == "tcp":
        raise Silent
    return truncated(answer, by)


def of_another_id(answer: Answer, _by: str) -> Answer:
    answer.id ^= 1
    return answer


def of_another_question(answer: Answer, _by: str) -> Answer:
    answer.question = dns.message.make_query("other.example.", "A").question
    return answer


def without_edns(answer: Answer, _by: str) -> Answer:
    """As a server from before EDNS."""
    if answer.edns >= 0:
        answer.use_edns(-1)
        answer.question, answer.answer, answer.authority, answer.additional = [], [], [], []
        answer.set_rcode(Rcode.FORMERR)
    return answer


def referring(answer: Answer, _by: str) -> Answer:
    """Names other servers, as one that looks nothing up."""
    answer.answer = []
    answer.authority = [dns.rrset.from_text(".", 3600, "IN", "NS", "a.root-servers.net.")]
    return answer


def alone(answer: Answer, _by: str) -> Answer:
    """The first alias and nothing behind it, as one that does not follow them."""
    answer.answer = answer.answer[:1]
    return answer


def saying(data: bytes, *, has_id: bool = True) -> Deed:
    return lambda _answer, _by: Raw(data, has_id)


def failing(rcode: dns.rcode.Rcode) -> Deed:
    def fail(answer: Answer, _by: str) -> Answer:
        answer.answer, answer.authority, answer.additional = [], [], []
        answer.set_rcode(rcode)
        return answer

    return fail


class NameServer:
    """`address` is as a setting has it. `asked` are the questions that have come."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.asked: list[Asked] = []
        self._records: dict[tuple[str, str], dns.rrset.RRset] = {}
        self._along: dict[str, list[dns.rrset.RRset]] = {}
        self._deeds: dict[tuple[str, str], Deed] = {}
        self.nothing_counts: int | None = 5
        self._udp, self._tcp = _sockets(host)
        self.address = f"{host}:{self._tcp.getsockname()[1]}"

    # -- what it says ------------------------------------------------------------------------------------

    def has(self, name: str, kind: str, *values: str, ttl: int = 5) -> None:
        """Instead of what it had before of this name and type; without values the name exists."""
        absolute = f"{name.rstrip('.')}."
        self._records[absolute, kind] = dns.rrset.from_text_list(absolute, ttl, "IN", kind, values)

    def sends_along(self, name: str, other: str, kind: str, *values: str, ttl: int = 5) -> None:
        """With each answer about `name` the records of another one."""
        rrset = dns.rrset.from_text_list(f"{other.rstrip('.')}.", ttl, "IN", kind, values)
        self._along.setdefault(f"{name.rstrip('.')}.", []).append(rrset)

    def forgets(self, name: str) -> None:
        absolute = f"{name.rstrip('.')}."
        self._records = {key: rrset for key, rrset in self._records.items() if key[0] != absolute}
        self._along.pop(absolute, None)

    def does(self, name: str, kind: str, deed: Deed | dns.rcode.Rcode | None) -> None:
        """What becomes of its answers about this name and type; None: they are sent."""
        key = f"{name.rstrip('.')}.", kind
        if deed is None:
            self._deeds.pop(key, None)
        else:
            self._deeds[key] = failing(deed) if isinstance(deed, dns.rcode.Rcode) else deed

    @contextmanager
    def doing(self, name: str, deed: Deed | dns.rcode.Rcode, *kinds: str) -> Iterator[None]:
        for kind in kinds:
            self.does(name, kind, deed)
        yield
        for kind in kinds:
            self.does(name, kind, None)

    # -- how ---------------------------------------------------------------------------------------------

    def _answer(self, wire: bytes, by: str) -> bytes:
        """Raises Silent."""
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        name, kind = asked.name.to_text().lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append(Asked(trio.current_time(), name.rstrip("."), kind, by, query.edns >= 0))
        answer: Answer | Raw = self._said(query, name, kind)
        assert isinstance(answer, Answer)
        if (deed := self._deeds.get((name, kind))) is not None:
            answer = deed(answer, by)
        if isinstance(answer, Raw):
            return (wire[:2] if answer.has_id else b"") + answer.data
        most = query.payload if query.edns >= 0 else BY_UDP
        try:
            return answer.to_wire(max_size=most if by == "udp" else 65535)
        except dns.exception.TooBig:
            return truncated(answer, by).to_wire()

    def _said(self, query: Answer, name: str, kind: str) -> Answer:
        answer = dns.message.make_response(query, recursion_available=True)
        names = {known for known, _ in self._records}
        while (alias := self._records.get((name, "CNAME"))) is not None and alias not in answer.answer:
            answer.answer.append(alias)
            name = alias[0].target.to_text().lower()
        if (rrset := self._records.get((name, kind))) is not None and len(rrset):
            answer.answer.append(rrset)
            answer.additional.extend(self._along.get(name, ()))
            return answer
        if name not in names:
            answer.set_rcode(Rcode.NXDOMAIN)
        if self.nothing_counts is not None and (name, "CNAME") not in self._records:
            soa = f"ns.example. who.example. 1 1 1 1 {self.nothing_counts}"
            answer.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", soa))
        return answer

    async def run(self) -> None:
        """Answer until cancelled; its sockets are closed then."""
        with self._udp, self._tcp:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._by_udp)
                while True:
                    sock, _ = await self._tcp.accept()
                    nursery.start_soon(self._by_tcp, sock)

    async def _by_udp(self) -> None:
        while True:
            wire, where = await self._udp.recvfrom(65535)
            try:
                await self._udp.sendto(self._answer(wire, "udp"), where)
            except Silent:
                continue

    async def _by_tcp(self, sock: trio.socket.SocketType) -> None:
        stream = trio.SocketStream(sock)
        async with stream:
            while (head := await _exactly(stream, 2)) is not None:
                wire = await _exactly(stream, int.from_bytes(head, "big"))
                assert wire is not None
                try:
                    answer = self._answer(wire, "tcp")
                except Silent:
                    continue
                await stream.send_all(len(answer).to_bytes(2, "big") + answer)


async def _exactly(stream: trio.SocketStream, size: int) -> bytes | None:
    """So many bytes; None where the client has left."""
    data = b""
    while len(data) < size:
        try:
            more = await stream.receive_some(size - len(data))
        except trio.BrokenResourceError:
            return None
        if not more:
            return None
        data += more
    return data


def _sockets(host: str) -> tuple[trio.socket.SocketType, trio.socket.SocketType]:
    """One for UDP and a listening one for TCP, on the same free port."""
    while True:
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        tcp.bind((host, 0))
        try:
            udp.bind(tcp.getsockname())
        except OSError:  # this port is taken by UDP
            tcp.close()
            udp.close()
            continue
        tcp.listen()
        return trio.socket.from_stdlib_socket(udp), trio.socket.from_stdlib_socket(tcp)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    server = NameServer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield server
        nursery.cancel_scope.cancel()


async def unsliced(work: Generator[object, None, T]) -> T:
    """In place of `sliced`, whose pauses are as long as the work took: virtual time has no use for them."""
    return at_once(work)
