"""Listening sockets that another program has opened: by the addresses under which it did.

Both programs have the same sockets, so what waits in the kernel's backlog is lost by neither's end. A new
program takes those whose addresses it is to listen at too, whatever else has changed in its configuration.
"""

import socket
from collections.abc import Iterable

from lb import socket_file
from lb.net.listener import UNIX_MODE, Listener
from lb.settings.listen_address import FdAddress, TcpAddress, UnixAddress, parse_address


def place_of(address: str) -> str:
    """The place that an address of the configuration names; of a Unix socket that is its path alone."""
    match parse_address(address):
        case TcpAddress(host=host, port=port):
            return f"[{host}]:{port}"
        case FdAddress(fd=fd):
            return f"fd://{fd}"
        case UnixAddress(path=path):
            return f"unix:{path}"


class HandedListeners:
    """The sockets, as (address, descriptors). Those that nobody takes are closed by `close_rest`."""

    def __init__(self, handed: Iterable[tuple[str, Iterable[int]]] = ()) -> None:
        self._left = [(place_of(address), address, tuple(numbers)) for address, numbers in handed]
        self.taken: list[str] = []
        """The addresses whose sockets were taken, as the program before had them."""
        self._files: list[tuple[Listener, str]] = []

    def take(self, address: str) -> list[Listener]:
        """The listeners at this address, which the caller owns; none if it was not handed over.

        The file of a Unix socket stays when such a listener is closed, until `own_files`.
        """
        place = place_of(address)
        found = next((each for each in self._left if each[0] == place), None)
        if found is None:
            return []
        self._left.remove(found)
        listeners = [Listener(socket.socket(fileno=number)) for number in found[2]]
        self.taken.append(found[1])
        match parse_address(address):
            case UnixAddress() as where:
                socket_file.set_access(where, UNIX_MODE)
                self._files += [(listener, where.path) for listener in listeners]
        return listeners

    def own_files(self) -> None:
        """The other program is gone: from now on the files of Unix sockets are removed with the listeners."""
        for listener, path in self._files:
            listener.path = path

    def close_rest(self) -> None:
        """Close what was not taken."""
        for _place, _address, numbers in self._left:
            for number in numbers:
                socket.socket(fileno=number).close()
        self._left.clear()
