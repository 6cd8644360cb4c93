"""What is asked of a program, and what it then paid by the system's own accounts."""

import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lb.net.wire import no_delay
from tests.bench.processes import LOAD_CORE, cpu_seconds, pinned, resident, run_for
from tests.bench.setting import Place, Setting

REQUESTS = re.compile(r"(\d+) requests in")
LATENCY = re.compile(r"^ +(50|99)% +([\d.]+)(us|ms|s)$", re.MULTILINE)
TROUBLE = re.compile(r"Non-2xx|Socket errors")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
UNTIL_STOPPED = "1h"
MOST_SECONDS = 5.0
IDLE_CONNECTIONS = 8_000
"""Ours takes no more where 20,000 files may be open: it counts two for each client, and some spare."""
CONNECTIONS_PER_ADDRESS = 250
IDLE_PATIENCE = 30.0
ANY_CERTIFICATE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANY_CERTIFICATE.check_hostname, ANY_CERTIFICATE.verify_mode = False, ssl.CERT_NONE
HANDSHAKES = Path(__file__).with_name("handshakes.py")
REQUEST = b"GET /hello HTTP/1.1\r\nHost: bench\r\n\r\n"


class Trouble(Exception):
    """Some of the requests were not answered, or not as they should be."""


@dataclass(frozen=True)
class Target:
    """A program that runs, and its copies `beside` it."""

    place: Place
    pid: int
    beside: tuple["Target", ...] = ()

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid) + sum(each.cpu_seconds for each in self.beside)


@dataclass(frozen=True)
class Result:
    """What each request cost, and two latencies in seconds where the load has them.

    The cost is in microseconds of CPU, or in bytes of memory for a connection.
    """

    cost: float
    requests: int = 1
    p50: float | None = None
    p99: float | None = None


Load = Callable[[Target, float], Result]
"""What the target paid for about so many seconds of it."""
Script = Callable[[Setting], str]


def wrk(
    path: str,
    connections: int = 32,
    script: str | Script = "",
    options: tuple[str, ...] = (),
    for_each: bool = False,
) -> Load:
    """So many connections that ask again at once, by a script in Lua if there is one.

    `for_each`: so many for each worker or copy, and not in all.
    """
    start = ["wrk", "-t1", f"-c{connections}", f"-d{UNTIL_STOPPED}", "--latency", *options]

    def load(target: Target, seconds: float) -> Result:
        place = target.place
        text = script if isinstance(script, str) else script(place.setting)
        scripted = ["-s", place.write("load.lua", text)] if text else []
        places = [place, *(each.place for each in target.beside)]
        ports = [each.port for each in places] * (place.setting.workers if for_each else 1)
        commands = [[*start, *scripted, f"{place.scheme}://127.0.0.1:{port}{path}"] for port in ports]
        while True:
            before = target.cpu_seconds
            reports = run_for(commands, seconds)
            if all(map(requests_in, reports)) or seconds > MOST_SECONDS:
                return result(reports, target.cpu_seconds - before)
            seconds *= 2  # the machine was busy with something else

    return load


def handshakes(path: str) -> Load:
    """A full handshake for each request, which wrk does not make (`tests.bench.handshakes`)."""

    def load(target: Target, seconds: float) -> Result:
        command = [sys.executable, str(HANDSHAKES), str(target.place.port), path, str(seconds)]
        before = target.cpu_seconds
        done = subprocess.run(pinned(LOAD_CORE, command), stdout=subprocess.PIPE, text=True, check=False)
        return result([done.stdout], target.cpu_seconds - before)

    return load


def requests_in(report: str) -> int:
    found = REQUESTS.search(report)
    return int(found[1]) if found else 0


def result(reports: Sequence[str], spent: float) -> Result:
    """From what each load reports; the latencies are those of the first."""
    for report in reports:
        if TROUBLE.search(report) or not requests_in(report):
            raise Trouble(report or "the load has not reported")
    requests = sum(map(requests_in, reports))
    late = {which: float(value) * UNITS[unit] for which, value, unit in LATENCY.findall(reports[0])}
    return Result(spent / requests * 1e6, requests, late.get("50"), late.get("99"))


def download(target: Target, _seconds: float) -> Result:
    before = cpu_seconds(target.pid)
    url = f"http://127.0.0.1:{target.place.port}/1g"
    subprocess.run(pinned(LOAD_CORE, ["curl", "-sSf", "-o", "/dev/null", url]), check=True)
    return Result((cpu_seconds(target.pid) - before) * 1e6)


def idle_connections(target: Target, seconds: float) -> Result:
    """Bytes of resident memory for each kept-alive connection, in place of microseconds."""
    address = "127.0.0.1", target.place.port
    before, held = resident(target.pid), list[socket.socket]()
    for number in range(IDLE_CONNECTIONS):
        host = f"127.0.1.{number // CONNECTIONS_PER_ADDRESS + 1}"
        sock = socket.create_connection(address, IDLE_PATIENCE, source_address=(host, 0))
        no_delay(sock)  # or the request waits 40 ms for the acknowledgement of the handshake's end
        held.append(ANY_CERTIFICATE.wrap_socket(sock) if target.place.setting.tls else sock)
        held[-1].sendall(REQUEST)
        held[-1].recv(4096)
    grown = resident(target.pid) - before
    wrk("/hello")(target, seconds)  # traffic goes on beside them
    for sock in held:
        sock.close()
    return Result(grown / IDLE_CONNECTIONS)
