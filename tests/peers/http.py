"""What HAProxy and nginx make of the table of checks, beside what we do: `just peers-http`.

Each of the three stands in front of a backend that records what comes and says what the row wants it to
say. It prints a line for each row: check, what the client said, and for each proxy the statuses and whether
it closed, and behind the bar what was forwarded. `=` is an answer like ours; `!` says that ours is not what
the table says, which the tests would have found.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.checks.table import ROWS, Row
from tests.kit.smuggling import gadgets
from tests.system.program import program
from tests.system.servers import free_ports, processes

SILENCE_SECONDS = 0.3
"""So long without a byte, and the connection counts as open."""
AT_ONCE = 16
STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])")
LENGTH = re.compile(rb"\ncontent-length:[ \t]*([^\r\n]*)", re.IGNORECASE)
CODING = re.compile(rb"\ntransfer-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)
CHUNK = re.compile(rb"([0-9a-fA-F]+)[^\n]*\n")

HAPROXY = """
global
    maxconn 500
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    timeout http-request 5s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server one 127.0.0.1:{backend}
"""
NGINX = """
daemon off; worker_processes 1; master_process off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    server {{
        listen 127.0.0.1:{port}; client_header_timeout 5s; client_body_timeout 5s;
        location / {{
            proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;
            proxy_set_header Host $http_host; proxy_set_header Connection "";
        }}
    }}
}}
"""


class Recorder:
    """A backend that answers every request with `answer`, and notes what it saw, however odd."""

    def __init__(self) -> None:
        self.answer = b""
        self.seen: list[str] = []
        self._open: set[trio.SocketStream] = set()

    async def serve(self, stream: trio.SocketStream) -> None:
        self._open.add(stream)
        try:
            async with stream:
                await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._open.discard(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                if not (more := await stream.receive_some()):
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            at = len(self.seen)
            self.seen.append(f"{described(head)} ...")
            while (found := body_in(head, data)) is None:
                if not (more := await stream.receive_some()):
                    return
                data += more
            body, data = found
            self.seen[at] = f"{described(head)} {body.decode('latin-1')}".rstrip(" ")
            await stream.send_all(self.answer)

    async def hangs_up(self) -> None:
        """End all connections, so that the next row finds none that is used."""
        for stream in list(self._open):
            await trio.aclose_forcefully(stream)


def described(head: bytes) -> str:
    """Method, target, what frames the body; the version where it is not ours."""
    method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    target, _, version = rest.rpartition(" ")
    codings, lengths = CODING.findall(head), LENGTH.findall(head)
    framing = [*(coding.decode("latin-1") for coding in codings), *("length" for _ in lengths)]
    return " ".join(filter(None, [method, target, version.removeprefix("HTTP/1.1"), "+".join(framing)]))


def body_in(head: bytes, data: bytes) -> tuple[bytes, bytes] | None:
    """The body and what is behind it; None while it is not whole."""
    if CODING.search(head):
        return chunks_in(data)
    length = int(match[1]) if (match := LENGTH.search(head)) and match[1].isdigit() else 0
    return (data[:length], data[length:]) if len(data) >= length else None


def chunks_in(data: bytes) -> tuple[bytes, bytes] | None:
    body, at = b"", 0
    while match := CHUNK.match(data, at):
        size, at = int(match[1], 16), match.end()
        if size == 0:
            end = at if data.startswith(b"\r\n", at) else data.find(b"\r\n\r\n", at) + 2
            return (body, data[end + 2 :]) if end > 1 and len(data) >= end + 2 else None
        body += data[at : at + size]
        at += size + 2
    return None


@dataclass(frozen=True)
class Proxy:
    """One of the three, with the backend that it alone has."""

    name: str
    port: int
    recorder: Recorder

    async def hears(self, says: bytes) -> str:
        """Statuses in turn, and "close" if it ended the connection; "reset" if it did so badly."""
        heard, end = b"", ""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(says)
            try:
                while not end:
                    with trio.move_on_after(SILENCE_SECONDS):
                        data = await stream.receive_some()
                        heard += data
                        end = "" if data else "close"
                        continue
                    break
            except trio.BrokenResourceError:
                end = "reset"
        statuses = [status.decode() for status in STATUS.findall(heard)]
        return " ".join(filter(None, [*(statuses or ["no head"] * bool(heard)), end])) or "nothing"

    async def plays(self, row: Row) -> str:
        self.recorder.answer = row.answer
        self.recorder.seen.clear()
        heard = await self.hears(row.says)
        seen = tuple(self.recorder.seen)
        await self.recorder.hangs_up()
        await trio.sleep(0.01)
        return told(heard, seen)


def told(heard: str, seen: tuple[str, ...]) -> str:
    return f"{heard} | {', '.join(map(short, seen)) or '-'}"


def short(text: str) -> str:
    shown = repr(text)[1:-1]
    return shown if len(shown) <= 48 else f"{shown[:36]}...({len(text)})"


@asynccontextmanager
async def proxies(folder: Path) -> AsyncIterator[list[Proxy]]:
    async with trio.open_nursery() as nursery:
        recorders, backends = [], []
        for _ in range(3):
            recorder = Recorder()
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, recorder.serve, [listener])
            recorders.append(recorder)
            backends.append(int(listener.socket.getsockname()[1]))
        haproxy, nginx = free_ports(2)
        (folder / "haproxy.cfg").write_text(HAPROXY.format(port=haproxy, backend=backends[1]))
        (folder / "nginx.conf").write_text(NGINX.format(port=nginx, backend=backends[2], root=folder))
        commands = [
            ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")],
            ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)],
        ]
        backend = ["--backend", f"one=http://127.0.0.1:{backends[0]}"]
        async with processes(commands, [haproxy, nginx]), program(*backend) as ours:
            ports = (int(ours.address.rpartition(":")[2]), haproxy, nginx)
            names = ("ours", "haproxy", "nginx")
            yield [Proxy(*each) for each in zip(names, ports, recorders, strict=True)]
        nursery.cancel_scope.cancel()


async def all_rows(proxy: Proxy, answers: dict[str, list[str]]) -> None:
    answers[proxy.name] = [await proxy.plays(row) for row in ROWS]


async def all_gadgets(proxy: Proxy) -> str:
    """How many of the smuggling table were taken for requests, and how often something was hidden."""
    limit = trio.CapacityLimiter(AT_ONCE)
    proxy.recorder.seen.clear()
    ends: Counter[str] = Counter()

    async def send(says: bytes) -> None:
        async with limit:
            ends[await proxy.hears(says)] += 1

    async with trio.open_nursery() as nursery:
        for gadget in gadgets():
            nursery.start_soon(send, gadget)
    hidden = sum("GET /hidden" in seen[:12] for seen in proxy.recorder.seen)
    common = ", ".join(f"{count} x {end}" for end, count in ends.most_common(6))
    return f"{len(proxy.recorder.seen)} forwarded, {hidden} of them hidden ones; {common}"


async def compare() -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with proxies(Path(folder)) as three:
            answers: dict[str, list[str]] = {}
            async with trio.open_nursery() as nursery:
                for proxy in three:
                    nursery.start_soon(all_rows, proxy, answers)
            wrong = report(answers)
            for proxy in three:
                say(f"c89 {proxy.name}: {await all_gadgets(proxy)}")
    return 1 if wrong else 0


def report(answers: dict[str, list[str]]) -> int:
    """A line for each row; how many of ours are not what the table says."""
    wrong, unlike = 0, Counter[str]()
    for row, ours, *theirs in zip(ROWS, answers["ours"], answers["haproxy"], answers["nginx"], strict=True):
        as_said = ours == told(row.hears, row.seen)
        wrong += not as_said
        say(f"{row.check} {row}\n    {'ours' if as_said else 'OURS !':8}{ours}")
        for name, answer in zip(("haproxy", "nginx"), theirs, strict=True):
            unlike[name] += answer != ours
            say(f"    {name:8}{'=' if answer == ours else answer}")
    numbers = ", ".join(f"{name} {count}" for name, count in unlike.items())
    say(f"{len(ROWS)} rows; unlike ours: {numbers}; ours unlike the table: {wrong}")
    return wrong


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def versions() -> None:
    for command in (["haproxy", "-v"], ["nginx", "-v"]):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        say((done.stdout + done.stderr).splitlines()[0])


if __name__ == "__main__":
    versions()
    sys.exit(trio.run(compare))
