"""What `lb config check` says of backends that are this balancer on this machine, whatever they are called.

`lb.config.own_addresses` knows what the texts alone tell. Here names are resolved, and addresses are held
against those of the machine, only for backends at ports that we listen on. The configuration may be meant
for another machine, so it is a note and no mistake.
"""

import socket
from collections.abc import Iterator

from lb.config.own_addresses import at_our_ports, listener_at, places
from lb.config.spoken_keys import spoken
from lb.core.allowed_addresses import ip
from lb.settings.balancer_settings import Config


def local_loops(config: Config) -> Iterator[str]:
    """A note for each backend that this machine leads to us. It asks the resolver, and blocks."""
    ours = places(config)
    for place, backend, host, port in at_our_ports(ours, config):
        if listener_at(ours, host, port) is not None:
            continue  # the texts tell
        for address in _local_addresses(host, port) if port else ():
            if (key := listener_at(ours, address, port, is_local=True)) is not None:
                yield f"{place}: {backend.url} is this balancer itself here ({spoken(key)})"
                break


def _local_addresses(host: str, port: int) -> Iterator[str]:
    """The addresses of a host that this machine has."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for family, _, _, _, where in found:
        if _is_local(family, str(where[0])):
            yield str(where[0])


def _is_local(family: int, address: str) -> bool:
    """Whether the address is one of this machine, as only those can be bound."""
    literal = ip(address)
    if literal is None or literal.is_unspecified:
        return False
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
