"""The program as a process: how it starts, what it says, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.system.program import backend_flags, program, until
from tests.system.servers import free_ports, python_servers

LB = [sys.executable, "-m", "lb"]


def lb(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LB, *arguments], capture_output=True, text=True, timeout=30, **options)  # type: ignore[call-overload, no-any-return]


def test_a_port_in_use_is_one_line_and_a_quick_end() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = "{}:{}".format(*taken.getsockname())
        began = time.monotonic()
        done = lb("run", "--listen", address, "--no-admin", "--backend", "http://127.0.0.1:1")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"lb: cannot listen on {address}: address already in use by pid {os.getpid()} (")
    assert line.endswith("); port 0 takes any free one")
    assert time.monotonic() - began < 5  # the bar is 1 s on an idle machine; start-up is most of it


def test_an_admin_port_in_use_ends_the_program_too() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = "{}:{}".format(*taken.getsockname())
        done = lb("run", "--listen", "127.0.0.1:0", "--admin", address, "--backend", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert f"{address}: address already in use by pid {os.getpid()} (" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_what_a_start_refuses_has_its_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "lb.toml"
    file.write_text("via = 'a'\nstate = '/nowhere/state'\nadmin.enabled = false\nlisten = '127.0.0.1:0'\n")
    done = lb("run", "--config", str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"lb: {file}, line 2: state: /nowhere/state: ")


def test_an_open_admin_address_without_a_token_refuses_to_start() -> None:
    done = lb("run", "--admin", "0.0.0.0:0", "--backend", "http://127.0.0.1:1")
    assert done.returncode == 2
    assert "token" in done.stderr


async def test_unreachable_backends_are_said_and_answered_with_502() -> None:
    [port] = free_ports(1)
    async with program(*backend_flags([port])) as lb:
        async with httpx.AsyncClient() as client:
            response = await client.get(lb.url)
        assert response.status_code == 502
        assert response.headers["proxy-status"].startswith("lb; error=connection_refused")
        await until(partial(lb.has_said, b"no backend is reachable"))


async def test_runtime_changes_survive_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    flags = [*backend_flags(free_ports(2)), "--state", str(state)]
    async with program(*flags) as lb:
        assert (await lb.api("POST", "/backends", 201, json={"id": "new", "url": "http://127.0.0.1:9"}))[
            "persisted"
        ]
        await lb.api("POST", "/backends/web1/drain?wait=5s")
        await lb.api("DELETE", "/backends/web2?wait=5s", 204)
    async with program(*flags) as lb:
        listing = await lb.api("GET", "/backends")
        states = {item["id"]: item["status"]["state"] for item in listing["items"]}
    assert states == {"web1": "drained", "new": "ready"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": "somebody else"}'])
def test_a_state_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "state.json"
    state.write_bytes(content)
    done = lb("run", "--state", str(state), "--backend", "http://127.0.0.1:1", "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert str(state) in done.stderr
    assert state.read_bytes() == content


async def test_an_inherited_socket_is_listened_on(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("inherited\n")
    async with python_servers(1, tmp_path) as ports:
        with closing(socket.create_server(("127.0.0.1", 0))) as handed:
            fd = handed.fileno()
            async with program(*backend_flags(ports), listen=f"fd://{fd}", pass_fds=[fd]):
                async with httpx.AsyncClient() as client:
                    response = await client.get("http://{}:{}".format(*handed.getsockname()))
    assert response.text == "inherited\n"


async def test_a_unix_socket_is_listened_on_and_removed_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("by path\n")
    path = tmp_path / "lb.sock"
    async with python_servers(1, tmp_path) as ports:
        async with program(*backend_flags(ports), listen=f"unix:{path}"):
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
                response = await client.get("http://anything/")
    assert response.text == "by path\n"
    assert not path.exists()


async def test_ipv6_works_on_both_sides(tmp_path: Path) -> None:
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as backend:
        port = backend.getsockname()[1]
        async with program("--backend", f"six=http://[::1]:{port}", listen="[::1]:0") as lb:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_once, backend)
                async with httpx.AsyncClient() as client:
                    response = await client.get(lb.url)
    assert response.text == "::1"


async def answer_once(listener: socket.socket) -> None:
    """Answers one request with the client address that it was told; a look at start-up sends nothing."""
    waiting = trio.socket.from_stdlib_socket(listener.dup())
    head = b""
    while not head:
        sock, _ = await waiting.accept()
        async with trio.SocketStream(sock) as stream:
            head = await stream.receive_some()
            told = [line for line in head.split(b"\r\n") if line.startswith(b"X-Forwarded-For: ")]
            value = b"".join(told).removeprefix(b"X-Forwarded-For: ")
            if head:
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                await stream.send_all(answer % (len(value), value))
    waiting.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_a_signal_ends_it_gracefully(number: signal.Signals) -> None:
    async with program(*backend_flags(free_ports(1))) as lb:
        lb.process.send_signal(number)
        assert await lb.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
async def test_f6_1_a_signal_without_a_meaning_ends_nothing(number: signal.Signals) -> None:
    async with program(*backend_flags(free_ports(1))) as lb:
        lb.process.send_signal(number)
        lb.process.send_signal(signal.SIGTERM)
        assert await lb.ends() == 0


async def test_live_requests_have_the_grace_and_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        async with program("--backend", "http://{}:{}".format(*silent.getsockname())) as lb:
            async with await lb.connect() as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await until(lb.is_busy)
                lb.process.send_signal(signal.SIGTERM)
                await until(partial(lb.has_said, b"stopping"))
                await lb.api("GET", "/readyz", expect=503)
                assert lb.process.poll() is None
                lb.process.send_signal(signal.SIGTERM)
                assert await lb.ends() == 128 + signal.SIGTERM


async def test_what_is_left_after_the_grace_is_cut_and_the_exit_code_says_so(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        backend = "http://{}:{}".format(*silent.getsockname())
        async with program("--backend", backend, "--set", "timeouts.grace=500ms") as lb:
            async with await lb.connect() as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await until(lb.is_busy)
                lb.process.send_signal(signal.SIGTERM)
                answer = await stream.receive_some()
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert await lb.ends() == 1


def test_the_access_log_is_json_where_nobody_watches(tmp_path: Path) -> None:
    """One object a line on stdout, with the id that the client was told."""
    [port] = free_ports(1)
    command = [*LB, "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--backend", f"http://127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            lines = iter(process.stderr.readline, b"")
            address = next(line.split()[1] for line in lines if line.startswith(b"  listening"))
            next(line for line in lines if line.startswith(b"  backends"))
            response = httpx.get(address.decode())
            record = json.loads(process.stdout.readline())
            assert record["id"] == response.headers["x-request-id"]
            assert (record["status"], record["reason"]) == (502, "connection_refused")
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
def test_nobody_to_read_what_it_says_is_no_reason_not_to_run(closed: str) -> None:
    [port] = free_ports(1)
    command = (
        f"exec {sys.executable} -m lb run --listen 127.0.0.1:{port} --no-admin --backend http://127.0.0.1:1"
    )
    process = subprocess.Popen(
        f"{command} {closed}", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        transport = httpx.HTTPTransport(retries=8)  # it retries connecting, ever more slowly
        with httpx.Client(transport=transport) as client:
            assert client.get(f"http://127.0.0.1:{port}/").status_code == 502
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


async def test_f4_4_the_log_file_is_opened_again_at_sigusr1(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    command = "--set", "access_log.format=combined", "--set", f"access_log.file={path}"
    async with program(*backend_flags(free_ports(1)), *command) as lb, httpx.AsyncClient() as client:
        assert (await client.get(lb.url)).status_code == 502
        await until(partial(_has_lines, path, 1))
        path.rename(old)
        lb.process.send_signal(signal.SIGUSR1)
        await until(partial(lb.has_said, b"access_log.file opened again"))
        assert (await client.get(lb.url)).status_code == 502
        await until(partial(_has_lines, path, 1))
        lb.process.send_signal(signal.SIGTERM)
        assert await lb.ends() == 0
    assert len(old.read_text().splitlines()) == 1


async def _has_lines(path: Path, count: int) -> bool:
    return _lines(path) == count


def _lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def test_f4_4_a_log_file_that_cannot_be_opened_is_named_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "none" / "access.log"
    command = [*LB, "run", "--backend", "http://127.0.0.1:9", "--set", f"access_log.file={path}"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"access_log.file: {path} cannot be opened for writing: No such file".encode() in done.stderr
