"""What a user waits for that is nobody's work: the start, and acknowledgements that the kernel holds back."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import pytest
import trio

from tests.kit.held import slowness
from tests.system.program import Program, backend_flags, program
from tests.system.servers import free_ports

pytestmark = pytest.mark.alone

START_SECONDS = 0.8
START_STEP_SECONDS = 0.01
"""Of a task, while clients are served and the rest of the program starts."""
STALL_SECONDS = 0.035
"""Linux holds an acknowledgement back for 40 ms; whoever waits for one has lost that time."""
SIZES = (1, 100, 1_460, 1_461, 4_096, 16_384, 65_536, 131_072)
EACH = 5
ROOT = Path(__file__).parents[2]


def seconds_to_first_answer() -> float:
    """From exec to the first byte of an answer, whatever it says."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "lb", "run", "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]
    began = time.monotonic()
    process = subprocess.Popen([*command, "--backend", "http://127.0.0.1:1"], stderr=subprocess.DEVNULL)
    try:
        while True:
            with (
                contextlib.suppress(ConnectionRefusedError),
                socket.create_connection(("127.0.0.1", port)) as sock,
            ):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert sock.recv(9) == b"HTTP/1.1 "
                return time.monotonic() - began
    finally:
        process.terminate()
        process.wait()


def test_it_answers_soon_after_it_was_started() -> None:
    """Once in a few tries, as on a machine of usual speed: a busy one is slow for other reasons."""
    assert any(seconds_to_first_answer() < START_SECONDS * slowness() for _ in range(8))


async def test_no_client_waits_for_the_rest_of_the_start() -> None:
    """What is imported and made after the first client was accepted is not done by the event loop."""
    command = [sys.executable, "-m", "tests.system.watched_start", "run", "--backend", "http://127.0.0.1:1"]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "off"]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    running = Program(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.read)
        await running.announced.wait()
        process.terminate()
        assert process.stdout is not None
        seen = json.loads(b"".join([data async for data in process.stdout]))
    assert await running.ends() == 0
    assert seen["longest"] < START_STEP_SECONDS, seen
    assert seen["collections"] == 0


async def echo(stream: trio.SocketStream) -> None:
    """Answer every request with its body, in one piece or two."""
    heard = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while True:
            while (end := heard.find(b"\r\n\r\n")) < 0:
                if not (data := await stream.receive_some()):
                    return
                heard += data
            length = int(heard.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            heard = heard[end + 4 :]
            while len(heard) < length:
                heard += await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + heard[:length])
            heard = heard[length:]


async def seconds_for(lb: Program, size: int, parts: int) -> float:
    """The typical time of an exchange with a body of this size both ways, sent in so many parts."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    took: list[float] = []
    async with await lb.connect() as stream:
        for _ in range(EACH):
            began = time.perf_counter()
            if parts == 1:
                await stream.send_all(head + bytes(size))
            else:
                await stream.send_all(head)
                await stream.send_all(bytes(size))
            heard = b""
            while len(heard.partition(b"\r\n\r\n")[2]) < size:
                heard += await stream.receive_some()
            took.append(time.perf_counter() - began)
    return median(took)


@pytest.mark.parametrize("parts", [1, 2])
async def test_no_size_waits_for_an_acknowledgement(parts: int) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with program(*backend_flags([port])) as lb:
            took = {size: await seconds_for(lb, size, parts) for size in SIZES}
        nursery.cancel_scope.cancel()
    assert max(took.values()) < STALL_SECONDS, took
