"""The name servers of a source: which they are, and which of them is asked when.

They are asked one after the other, first the one that answered last, until one has said that there are such
records, that there are none, or that the name does not exist. Those that were silent are asked once more, for
UDP loses packets. Whatever else happens is no answer, and raises SourceFailed with what each of them did.

Where none are configured, those of /etc/resolv.conf are asked; it is read anew each time. Its search domains
are not used: each name is absolute. /etc/hosts is not read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from lb.discovery.backend_source import SourceFailed
from lb.discovery.dns_answer import MOST_ALIASES, Found, NameMissing, Unhelpful, found
from lb.discovery.dns_exchange import ask
from lb.discovery.dns_message import Kind, text_of
from lb.net.addresses import Address, literal
from lb.settings.dns_url import DNS_PORT

SYSTEM = Path("/etc/resolv.conf")
LOCAL = "127.0.0.1"
"""Who is asked where the file names no server: resolv.conf(5)."""
MOST_OF_SYSTEM = 3
ROUNDS = 2
LOOKUP_SECONDS = 15.0
"""Longest wait for the records of one name, whatever the name servers do."""

Server = tuple[str, int]


class NameServers:
    """Asks for records. `tcp` asks by TCP at once; `system` is the file that is read without `configured`."""

    def __init__(
        self, configured: Sequence[Server] = (), *, tcp: bool = False, system: Path = SYSTEM
    ) -> None:
        self._configured = configured
        self._tcp = tcp
        self._system = system
        self._last: Server | None = None

    async def ask(self, name: bytes, kind: Kind) -> Found:
        """The records of this name, aliases followed. Raises SourceFailed, which names the servers and it."""
        troubles: dict[Server, Unhelpful] = {}
        try:
            with trio.fail_after(LOOKUP_SECONDS):
                return await self._follow(name, kind, troubles)
        except trio.TooSlowError:
            so_far = "; ".join(_each(troubles)) or "the first one is still to answer"
        raise SourceFailed(f"{_asked(name, kind)}: no answer in {LOOKUP_SECONDS:g} s: {so_far}")

    async def _follow(self, name: bytes, kind: Kind, troubles: dict[Server, Unhelpful]) -> Found:
        ttls: list[int] = []
        further = name
        for _ in range(MOST_ALIASES):
            troubles.clear()
            answer = await self._ask(further, kind, troubles)
            if answer.ttl is not None:
                ttls.append(answer.ttl)
            if answer.further is None:
                return answer._replace(ttl=min(ttls, default=None))
            further = answer.further
        raise SourceFailed(f"{_asked(name, kind)}: more than {MOST_ALIASES} aliases, one behind the other")

    async def _ask(self, name: bytes, kind: Kind, troubles: dict[Server, Unhelpful]) -> Found:
        """What the first of them says that has an answer; what the others did stands in `troubles` then."""
        servers = sorted(await self._servers(), key=lambda server: server != self._last)
        for _ in range(ROUNDS):
            for server in servers:
                if server not in troubles or troubles[server].is_silent:
                    try:
                        answer = await self._ask_one(server, name, kind)
                    except Unhelpful as exc:
                        troubles[server] = exc
                    else:
                        self._last = server
                        return answer
        raise SourceFailed(f"{_asked(name, kind)}: {'; '.join(_each(troubles))}")

    async def _ask_one(self, server: Server, name: bytes, kind: Kind) -> Found:
        host, port = server
        try:
            address = _address(host, port)
        except OSError as exc:
            raise Unhelpful(f"cannot be asked: {exc.strerror or exc}") from exc
        message = await ask(address, name, kind, tcp=self._tcp)
        try:
            return found(message, name, kind)
        except NameMissing as exc:
            raise SourceFailed(f"{_asked(name, kind)}: {_shown(server)} says that {exc} (NXDOMAIN)") from None

    async def _servers(self) -> Sequence[Server]:
        if self._configured:
            return self._configured
        try:
            text = await trio.Path(self._system).read_text(errors="replace")
        except FileNotFoundError:
            text = ""
        except OSError as exc:
            raise SourceFailed(f"{self._system} cannot be read: {exc.strerror or exc}") from exc
        return [(host, DNS_PORT) for host in system_servers(text)]


def system_servers(text: str) -> list[str]:
    """The addresses that a resolv.conf names, as many as the C library takes."""
    lines = (line.split() for line in text.splitlines())
    hosts = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return list(dict.fromkeys(hosts))[:MOST_OF_SYSTEM] or [LOCAL]


def _address(host: str, port: int) -> Address:
    if host.startswith("/") or (address := literal(host, port)) is None:
        raise OSError(0, "it is no address")
    return address


def _each(troubles: dict[Server, Unhelpful]) -> Iterator[str]:
    return (f"{_shown(server)} {trouble}" for server, trouble in troubles.items())


def _asked(name: bytes, kind: Kind) -> str:
    return f"{text_of(name)} ({kind.name})"


def _shown(server: Server) -> str:
    """The server as people write it, its port where it is another than usual."""
    host, port = server
    if port == DNS_PORT:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
