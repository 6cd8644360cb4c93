"""Real etcd servers, one or three: started on free ports, stopped, continued, killed, wiped.

They wait for no disk, and elect a leader within half a second.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.programs import path_of

needs_etcd = pytest.mark.needs("etcd", "etcdctl")
HASTE = ("--unsafe-no-fsync", "--heartbeat-interval=50", "--election-timeout=500", "--log-level=error")
"""Not below these: with less, a busy machine loses its leader."""
PATIENCE = 30.0


class EtcdServer:
    """One etcd, which a test may treat badly. `flags` are added when it is started next."""

    def __init__(self, name: str, folder: Path, ports: tuple[int, int], flags: Sequence[str]) -> None:
        client_port, peer_port = ports
        self.name = name
        self.flags = [*flags]
        self.port = client_port
        self.scheme = "http"
        self.peer_url = f"http://127.0.0.1:{peer_port}"
        self.others = ""
        self._data = folder / name
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; `is_ready` says when it answers."""
        assert self._process is None
        command = [
            *(path_of("etcd"), "--name", self.name, "--data-dir", str(self._data), *HASTE),
            *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
            *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *("--initial-cluster", self.others, *self.flags),
        ]
        with self._log.open("ab") as log:
            # `etcd` refuses to start where one of its variables is set and has a flag too.
            clean = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=clean)

    def stops(self) -> None:
        """It stands still, and its connections stay open."""
        self._send(signal.SIGSTOP)

    def goes_on(self) -> None:
        self._send(signal.SIGCONT)

    def dies(self) -> None:
        """It is killed, and its data stay."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()

    def wipe(self) -> None:
        """Remove its data. It must not run."""
        assert self._process is None
        shutil.rmtree(self._data)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


class EtcdServers:
    """The servers of one cluster, and `etcdctl` to do things behind the back of whoever is tested."""

    def __init__(self, servers: Sequence[EtcdServer]) -> None:
        self.servers = servers

    def __getitem__(self, index: int) -> EtcdServer:
        return self.servers[index]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(server.url for server in self.servers)

    async def ctl(self, *arguments: str, at: int = 0, user: str = "", stdin: bytes = b"") -> str:
        """What etcdctl says, asked of one of them. It must succeed."""
        command = [path_of("etcdctl"), f"--endpoints={self.servers[at].url}"]
        command += [f"--user={user}"] if user else []
        done = await trio.run_process(
            [*command, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=os.environ | {"ETCDCTL_API": "3"},
        )
        assert done.returncode == 0, f"etcdctl {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode()

    async def all_ready(self) -> None:
        for server in self.servers:
            await is_ready(server)

    def all_die(self) -> None:
        """All are killed, and their data stay."""
        for server in self.servers:
            server.dies()

    async def all_come_back(self) -> None:
        for server in self.servers:
            server.start()
        await self.all_ready()

    async def leader(self) -> int:
        """The place of the one that leads."""
        for at in range(len(self.servers)):
            status = (await self.ctl("endpoint", "status", at=at)).split(", ")
            if status[4] == "true":
                return at
        raise AssertionError("none of them leads")

    async def protect(self) -> None:
        """Switch users on: root has the password "root", and reader may read what begins with /."""
        await self.ctl("user", "add", "root:root")
        await self.ctl("user", "grant-role", "root", "root")
        await self.ctl("role", "add", "reading")
        await self.ctl("role", "grant-permission", "reading", "read", "--prefix=true", "/")
        await self.ctl("user", "add", "reader:secret")
        await self.ctl("user", "grant-role", "reader", "reading")
        await self.ctl("auth", "enable")


async def is_ready(server: EtcdServer) -> None:
    """Wait until it answers and has a leader."""
    with trio.move_on_after(PATIENCE):
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(f"{server.url}/health", timeout=1)
                except httpx.HTTPError:
                    await trio.sleep(0.02)
                    continue
                if answer.json().get("health") == "true":
                    return
                await trio.sleep(0.02)
    raise AssertionError(f"{server.name} does not answer: {server.log[-2000:]}")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


@asynccontextmanager
async def etcd_servers(
    folder: Path, count: int = 1, *flags: str, scheme: str = "http"
) -> AsyncIterator[EtcdServers]:
    """So many servers as one cluster, until the end of the block. They are ready unless they speak TLS."""
    ports = free_ports(2 * count)
    servers = [EtcdServer(f"n{at}", folder, (ports[2 * at], ports[2 * at + 1]), flags) for at in range(count)]
    for server in servers:
        server.scheme = scheme
        server.others = ",".join(f"{each.name}={each.peer_url}" for each in servers)
    try:
        for server in servers:
            server.start()
        etcd = EtcdServers(servers)
        if scheme == "http":
            await etcd.all_ready()
        yield etcd
    finally:
        for server in servers:
            server.dies()
