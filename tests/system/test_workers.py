"""Several workers, and they are one balancer: whatever becomes of one of them, or of the keeper."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.kit.held import slowness
from tests.system.load import Load
from tests.system.program import Program, backend_flags, is_worker, program, until
from tests.system.servers import free_ports, nginx_servers
from tests.system.sick import Books, patients

WORKERS = 2
CLIENTS = 12
FEW_CLIENTS = 4
BACK_SECONDS = 1.0
TRIES = 2
IN_WORKERS = ("--workers", str(WORKERS))
ASKS = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWERS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Slow:
    """A backend that answers when the test says so."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = "http://{}:{}".format(*listener.getsockname())
        self._listener = trio.socket.from_stdlib_socket(listener)

    async def has_request(self) -> trio.SocketStream:
        """The connection of the next request; a look at start-up sends nothing."""
        while True:
            sock, _ = await self._listener.accept()
            stream = trio.SocketStream(sock)
            if await stream.receive_some():
                return stream
            await stream.aclose()


@asynccontextmanager
async def asked(
    lb_flags: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[tuple[Program, trio.SocketStream, trio.SocketStream]]:
    """A program with workers, a client that has asked, and the backend that has got the request."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.setblocking(False)
        slow = Slow(listener)
        async with program("--backend", slow.url, *IN_WORKERS, *lb_flags, **options) as lb:
            async with await lb.connect() as client:
                await client.send_all(ASKS)
                backend = await slow.has_request()
                async with backend:
                    yield lb, client, backend


def pids(lb: Program) -> list[int]:
    """The processes of the workers."""
    return [pid for pid in children(lb) if is_called(pid, "lb worker")]


async def has_workers(lb: Program) -> bool:
    """Whether there is one; where two died at once, others have to start first."""
    return bool(pids(lb))


def children(lb: Program) -> list[int]:
    """Those of the spare one too."""
    lists = Path(f"/proc/{lb.process.pid}/task").glob("*/children")
    return [int(word) for each in lists for word in each.read_text().split() if is_worker(int(word))]


def is_called(pid: int, name: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith(name)
    except OSError:
        return False


async def is_ready(lb: Program) -> bool:
    """Whether there is a spare process, which has done its imports."""
    return any(is_called(pid, "lb spare") for pid in children(lb))


def connections(pid: int, port: int) -> int:
    """How many connections of this port a process has."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    established = {f"socket:[{each[9]}]" for each in lines if each[3] == "01" and is_at(each[1], port)}
    folder = Path(f"/proc/{pid}/fd")
    return sum(os.readlink(each) in established for each in folder.iterdir())


def is_at(address: str, port: int) -> bool:
    return int(address.partition(":")[2], 16) == port


async def are_gone(there: list[int]) -> bool:
    return not any(is_worker(pid) for pid in there)


async def all_serve(lb: Program, starts: int) -> None:
    """Wait until so many workers have begun to serve, those before included."""

    async def have_said() -> bool:
        return lb.said.count(b"worker serves") >= starts

    await until(have_said)


# -- the end of a worker -----------------------------------------------------------------------------------


@pytest.mark.needs("nginx")
async def test_a_killed_worker_takes_only_its_own_connections_with_it(tmp_path: Path) -> None:
    async with nginx_servers(1, tmp_path) as ports:
        async with program(*backend_flags(ports), *IN_WORKERS) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address, b"/hello")
            clients = 0
            with trio.fail_after(30):  # one after another, until each worker has some
                while clients < 4 or not all(connections(pid, load.port) for pid in pids(lb)):
                    clients += 1
                    nursery.start_soon(load.run, 1)
                    await load.reaches(load.total + 20)
            victim = pids(lb)[0]
            own = connections(victim, load.port)
            os.kill(victim, signal.SIGKILL)
            await all_serve(lb, WORKERS + 1)
            failed = len(load.failures)
            before = load.total

            async def goes_on() -> bool:
                return load.total > before + 300

            await until(goes_on)
            load.stop()
            assert len(pids(lb)) == WORKERS
    assert 0 < failed <= own < clients
    assert len(load.failures) == failed
    assert set(load.answered) == {200}
    assert load.refused == 0


@pytest.mark.alone
@pytest.mark.needs("nginx")
async def test_a_killed_worker_is_back_within_a_second_under_load(tmp_path: Path) -> None:
    """Once in a few times, as on a machine of usual speed: a busy one is slow for other reasons."""
    async with nginx_servers(1, tmp_path) as ports:
        async with program(*backend_flags(ports), *IN_WORKERS) as lb, trio.open_nursery() as nursery:
            load = Load(lb.address, b"/hello")
            nursery.start_soon(load.run, FEW_CLIENTS)
            took: list[float] = []
            for number in range(TRIES):
                await until(partial(is_ready, lb))
                await load.reaches(load.total + 200)
                began = trio.current_time()
                os.kill(pids(lb)[0], signal.SIGKILL)
                await all_serve(lb, WORKERS + 1 + number)
                took.append(trio.current_time() - began)
                if took[-1] < BACK_SECONDS * slowness():
                    break
            load.stop()
    assert min(took) < BACK_SECONDS * slowness(), took


@pytest.mark.needs("nginx")
async def test_a_stopped_worker_holds_up_neither_clients_nor_operators(tmp_path: Path) -> None:
    async with nginx_servers(2, tmp_path) as ports:
        async with program(*backend_flags(ports), *IN_WORKERS) as lb:
            os.kill(victim := pids(lb)[0], signal.SIGSTOP)
            with trio.fail_after(10):
                await lb.api("GET", "/backends")
                for _ in range(10):
                    async with httpx.AsyncClient() as client:
                        assert (await client.get(f"{lb.url}/hello")).status_code == 200
            with trio.fail_after(15):  # 3 s, until it is taken for dead
                drained = await lb.api("POST", "/backends/web1/drain?wait=10s")
            assert drained["status"]["drain"]["outcome"] == "completed"
            await all_serve(lb, WORKERS + 1)
            assert victim not in pids(lb)
            assert b"worker does not answer" in lb.said
            async with httpx.AsyncClient() as client:
                answers = {(await client.get(f"{lb.url}/hello")).text for _ in range(4)}
    assert answers == {f"hello from {ports[1]}\n"}


async def test_a_change_does_not_wait_for_a_worker_that_starts(tmp_path: Path) -> None:
    """It does not serve yet, and will know of the change before it does."""
    async with program(*backend_flags(free_ports(2)), *IN_WORKERS) as lb:
        for number in range(3):
            await until(partial(has_workers, lb))
            os.kill(pids(lb)[0], signal.SIGKILL)
            await lb.api("POST", "/backends", 201, json={"id": f"new{number}", "url": "http://127.0.0.1:9"})
        await all_serve(lb, WORKERS + 1)
        assert b"worker does not answer" not in lb.said


# -- the end of all ----------------------------------------------------------------------------------------


async def test_a_worker_of_a_killed_keeper_has_the_grace_and_does_not_outlive_it() -> None:
    async with asked(("--set", "timeouts.grace=1s")) as (lb, client, _):
        await until(partial(is_ready, lb))
        there = children(lb)
        assert len(there) == WORKERS + 1
        lb.process.kill()
        assert (await client.receive_some()).startswith(b"HTTP/1.1 503 ")
        await until(partial(are_gone, there), 15)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_the_whole_group_ends_it_gracefully(number: signal.Signals) -> None:
    """As of a terminal at Ctrl-C, and of a service manager. Until then changes are answered as ever."""
    async with asked(start_new_session=True) as (lb, client, backend):
        there = pids(lb)
        os.killpg(lb.process.pid, number)
        await until(partial(lb.has_said, b"stopping"))
        with trio.fail_after(2.5):  # less than it takes until a worker that applies no change counts as dead
            await lb.api("PATCH", f"/backends/{await only_id(lb)}", json={"weight": 2})
        await backend.send_all(ANSWERS)
        assert b"200 OK" in await client.receive_some()
        assert await lb.ends() == 0
        assert await are_gone(there)
        assert b"worker died" not in lb.said


async def test_what_is_left_after_the_grace_is_cut_and_the_exit_code_says_so() -> None:
    async with asked(("--set", "timeouts.grace=500ms")) as (lb, client, _):
        there = pids(lb)
        lb.process.send_signal(signal.SIGTERM)
        assert (await client.receive_some()).startswith(b"HTTP/1.1 503 ")
        assert await lb.ends() == 1
        assert b'"cut": 1' in lb.said
        assert await are_gone(there)


async def only_id(lb: Program) -> str:
    [item] = (await lb.api("GET", "/backends"))["items"]
    return str(item["id"])


async def test_a_second_signal_ends_it_at_once_and_no_worker_is_left() -> None:
    async with asked() as (lb, _, __):
        there = pids(lb)
        lb.process.send_signal(signal.SIGTERM)
        await until(partial(lb.has_said, b"stopping"))
        lb.process.send_signal(signal.SIGTERM)
        assert await lb.ends() == 128 + signal.SIGTERM
        await until(partial(are_gone, there))


async def test_it_ends_while_a_worker_waits_to_be_started_again() -> None:
    async with program(*backend_flags(free_ports(1)), *IN_WORKERS) as lb:

        async def pauses() -> bool:
            there = pids(lb)
            if len(there) == WORKERS:
                os.kill(there[0], signal.SIGKILL)
            return b'"next_start_in": 2.0' in lb.said

        await until(pauses)
        with trio.fail_after(20):
            lb.process.send_signal(signal.SIGTERM)
            assert await lb.ends() == 0


# -- a worker that cannot start ----------------------------------------------------------------------------

ONLY_IN_THE_KEEPER = """
import os, sys
if sys.argv[0].endswith("workers/__main__.py"):
    os._exit(7)
class Mine:
    def choose(self, candidates, request):
        return candidates[0]
"""


def test_where_no_worker_can_start_the_program_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(ONLY_IN_THE_KEEPER)
    [port] = free_ports(1)
    command = [sys.executable, "-m", "lb", "run", "--listen", f"127.0.0.1:{port}", "--no-admin", *IN_WORKERS]
    command += ["--backend", "http://127.0.0.1:9", "--set", "pools.default.policy=own:Mine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    assert '"code": 7' in done.stderr
    assert done.stderr.splitlines()[-1] == f"lb: none of {WORKERS} workers could be started"
    assert "Traceback" not in done.stderr


def test_a_log_file_that_no_worker_could_open_is_named_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "none" / "access.log"
    command = [sys.executable, "-m", "lb", "run", "--backend", "http://127.0.0.1:9", *IN_WORKERS]
    done = subprocess.run([*command, "--set", f"access_log.file={path}"], capture_output=True, timeout=60)
    assert done.returncode == 2
    assert f"access_log.file: {path} cannot be opened for writing: No such file".encode() in done.stderr


async def test_a_reload_that_no_worker_could_follow_changes_nothing(tmp_path: Path) -> None:
    file = trio.Path(tmp_path / "lb.toml")
    backend = '[[pools.default.backends]]\nid = "web1"\nurl = "http://127.0.0.1:9"\n'
    await file.write_text(backend)
    async with program("--config", str(file), *IN_WORKERS) as lb:
        await file.write_text(f'access_log.file = "{tmp_path}/none/access.log"\n{backend}')
        problem = await lb.api("POST", "/config/reload", 422)
        assert "cannot be opened for writing" in problem["detail"]
        await file.write_text(f"workers = {WORKERS + 1}\n{backend}")
        await lb.api("POST", "/config/reload")
        assert len(pids(lb)) == WORKERS
        assert b"worker died" not in lb.said


# -- one balancer ------------------------------------------------------------------------------------------


@pytest.mark.needs("nginx")
async def test_a_cookie_of_one_worker_is_good_for_all(tmp_path: Path) -> None:
    async with nginx_servers(3, tmp_path) as ports:
        sticky = ("--set", "pools.default.sticky.cookie=at")
        async with program(*backend_flags(ports), *IN_WORKERS, *sticky) as lb:
            async with httpx.AsyncClient() as client:
                first = await client.get(f"{lb.url}/hello")
            answers = set()
            for _ in range(20):
                async with httpx.AsyncClient(cookies=first.cookies) as client:
                    answers.add((await client.get(f"{lb.url}/hello")).text)
    assert answers == {first.text}


async def test_workers_eject_a_dead_backend_together_and_never_more_than_half(tmp_path: Path) -> None:
    quick = ("--set", "pools.default.ejection.base=1s", "--set", "timeouts.response_head=1s")
    async with patients("web1", "web2", "web3") as beds:
        flags = backend_flags([bed.port for bed in beds])
        async with program(*flags, *IN_WORKERS, *quick) as lb:
            books = Books(lb.address)
            async with books.kept(CLIENTS):
                await books.grow(50, ("web1", "web2", "web3"))
                beds[0].process.kill()
                await until(partial(lb.has_said, b"backend ejected"))
                beds[1].process.kill()
                most = 0
                for _ in range(20):
                    listing = await lb.api("GET", "/backends")
                    states = [item["status"]["state"] for item in listing["items"]]
                    most = max(most, states.count("ejected"))
                await beds[0].start()
                await beds[1].start()
                await until(partial(are_ready, lb))
    assert most == 1


async def are_ready(lb: Program) -> bool:
    listing = await lb.api("GET", "/backends")
    return all(item["status"]["state"] == "ready" for item in listing["items"])


async def test_the_log_files_of_all_workers_are_opened_again(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    log = ("--set", "access_log.format=combined", "--set", f"access_log.file={path}")
    async with program(*backend_flags(free_ports(1)), *IN_WORKERS, *log) as lb:
        await until(partial(exists, path))
        path.rename(old)
        lb.process.send_signal(signal.SIGUSR1)

        async def are_open() -> bool:
            return lb.said.count(b"access_log.file opened again") == WORKERS

        await until(are_open)
        for _ in range(8):
            async with httpx.AsyncClient() as client:
                await client.get(lb.url)
        lb.process.send_signal(signal.SIGTERM)
        assert await lb.ends() == 0
    assert (old.read_text(), path.read_text().count("\n")) == ("", 8)


async def exists(path: Path) -> bool:
    return await trio.Path(path).exists()


@pytest.mark.parametrize("workers", [1, WORKERS])
async def test_the_level_of_the_log_is_changed_in_all_processes(tmp_path: Path, workers: int) -> None:
    async with nginx_servers(1, tmp_path) as ports:
        async with program(*backend_flags(ports), "--workers", str(workers)) as lb:
            await lb.api("PUT", "/log-level", params={"level": "debug", "for": "1h"})
            for number in range(8):
                async with httpx.AsyncClient() as client:
                    await client.get(f"{lb.url}/{number}")

            async def are_told() -> bool:
                return lb.said.count(b'"event": "exchange"') == 8

            await until(are_told)
            assert lb.said.count(b'"event": "attempt"') == 8
            shown = await lb.api("PUT", "/log-level", params={"level": "configured"})
            assert shown == {"level": "info", "configured": "info", "seconds_left": None}
            async with httpx.AsyncClient() as client:
                await client.get(f"{lb.url}/quiet")
            assert await lb.api("GET", "/log-level") == shown
            lb.process.send_signal(signal.SIGTERM)
            assert await lb.ends() == 0
    assert b"/quiet" not in b"".join(line for line in lb.said.splitlines() if b'"event"' in line)
