"""Backends that fall ill on order, and clients that keep books: what was asked, and who answered what."""

import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import h11
import trio

from tests.system.program import until
from tests.system.servers import free_ports, listens

SCRIPT = str(Path(__file__).with_name("sick_server.py"))
SERVICE_SECONDS = 0.02
AFTER_A_FAILURE = 0.2
"""A client that was let down tries again, but not in the same breath."""


class Patient:
    """One `sick_server.py`, and the process that it is now; `got` are the POSTs that it has begun."""

    process: trio.Process

    def __init__(self, name: str, port: int, nursery: trio.Nursery) -> None:
        self.name = name
        self.port = port
        self.got: Counter[str] = Counter()
        self._nursery = nursery
        self._begins = trio.Event()
        self._done: Counter[str] = Counter()

    async def start(self) -> None:
        """A process, new if there was one before; it accepts when this returns."""
        command = [sys.executable, SCRIPT, self.name, str(self.port), str(SERVICE_SECONDS)]
        pipe = subprocess.PIPE
        run = partial(trio.run_process, command, stdin=pipe, stdout=pipe, check=False, deliver_cancel=kill)
        self.process = await self._nursery.start(run)
        self._nursery.start_soon(self._read, self.process)
        await self.becomes("healthy")
        await listens(self.port)

    async def becomes(self, order: str) -> None:
        """It is so when this returns."""
        assert self.process.stdin is not None
        before = self._done[order]
        await self.process.stdin.send_all(f"{order}\n".encode())

        async def is_done() -> bool:
            return self._done[order] > before

        await until(is_done)

    async def has_a_post(self) -> None:
        """Wait until it has just begun one."""
        self._begins = trio.Event()
        with trio.fail_after(30):
            await self._begins.wait()

    async def _read(self, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        async for data in process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._note(*line.decode().split())

    def _note(self, word: str, target: str = "") -> None:
        if word == "got":
            self.got[target] += 1
            self._begins.set()
        else:
            self._done[word] += 1


async def kill(process: trio.Process) -> None:
    """One that is stopped does not hear of anything else."""
    process.kill()


@asynccontextmanager
async def patients(*names: str) -> AsyncIterator[list[Patient]]:
    """Healthy ones of these names."""
    async with trio.open_nursery() as nursery:
        there = [
            Patient(name, port, nursery) for name, port in zip(names, free_ports(len(names)), strict=True)
        ]
        async with trio.open_nursery() as starting:
            for each in there:
                starting.start_soon(each.start)
        yield there
        nursery.cancel_scope.cancel()


class Answer:
    """What a client has read of one answer."""

    def __init__(self) -> None:
        self.status = 0
        self.why = ""
        self.content = b""


class Books:
    """Kept-alive clients that ask as fast as they are answered: many that GET, and one that POSTs.

    An answer is good if its status is 200 and its content that of the very question. `answers` counts those
    by the name of the backend; `failures` has the others by their question.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port = host, int(port)
        self.answers: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self._numbers = count()
        self._stopping = False

    def failed(self, method: str) -> dict[str, str]:
        return {
            question: why for question, why in self.failures.items() if question.startswith(f"/{method}/")
        }

    async def grow(self, by: int, names: Sequence[str] = ()) -> None:
        """Wait for so many more good answers, of these backends if there are any, and no bad one to a GET."""

        def so_far() -> int:
            return sum(self.answers[name] for name in names or list(self.answers))

        wanted = so_far() + by

        async def are_there() -> bool:
            return so_far() >= wanted or bool(self.failed("GET"))

        await until(are_there)
        assert self.failed("GET") == {}

    @asynccontextmanager
    async def kept(self, getting: int) -> AsyncIterator[None]:
        """While the block runs; each question has had its answer at the end."""
        async with trio.open_nursery() as nursery:
            for method in ["GET"] * getting + ["POST"]:
                nursery.start_soon(self._client, method)
            yield
            self._stopping = True

    async def _client(self, method: str) -> None:
        while not self._stopping:
            async with await trio.open_tcp_stream(self.host, self.port) as stream:
                connection = h11.Connection(h11.CLIENT)
                while not self._stopping and await self._ask(stream, connection, method):
                    connection.start_next_cycle()

    async def _ask(self, stream: trio.SocketStream, connection: h11.Connection, method: str) -> bool:
        """One question, noted down with what became of it. True if the connection can carry another."""
        question = f"/{method}/{next(self._numbers)}"
        answer = Answer()
        try:
            await self._converse(stream, connection, method, question, answer)
        except (OSError, trio.BrokenResourceError, h11.ProtocolError) as exc:
            answer.why = repr(exc)
        name, _, echo = answer.content.decode().partition(" ")
        if answer.why or answer.status != 200 or echo != question:
            self.failures[question] = f"{answer.status} {answer.why} {answer.content!r}"
            await trio.sleep(AFTER_A_FAILURE)
        else:
            self.answers[name] += 1
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _converse(
        self,
        stream: trio.SocketStream,
        connection: h11.Connection,
        method: str,
        question: str,
        answer: Answer,
    ) -> None:
        fields = [("Host", self.host), ("Content-Length", "0")]
        request = h11.Request(method=method, target=question, headers=fields)
        await stream.send_all(
            (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        )
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.why = dict(event.headers).get(b"proxy-status", b"").decode()
            elif isinstance(event, h11.Data):
                answer.content += event.data
