"""A resolver of the test's own, in place of the system's."""

import socket
from typing import Any

import trio


class Resolver(trio.abc.HostnameResolver):
    """Resolves the names in `known`; those in `silent` get no answer, and any other name has no address."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known
        self.silent: set[str] = set()
        self.asked: list[tuple[float, str]] = []
        self.running = 0
        self.most_running = 0
        trio.socket.set_custom_hostname_resolver(self)

    async def getaddrinfo(self, host: Any, port: Any, *_rest: Any) -> list[Any]:
        name = host.decode()
        self.asked.append((trio.current_time(), name))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await trio.lowlevel.checkpoint()
            if name in self.silent:
                await trio.sleep_forever()
        finally:
            self.running -= 1
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [_found(address, port) for address in self.known[name]]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


def _found(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)
