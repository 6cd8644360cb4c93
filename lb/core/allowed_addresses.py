"""Which addresses a backend may have that the API has added, and the configuration file does not name.

The API may be reached by more people than the file, and a request through the balancer comes from inside its
network. So link-local addresses and the metadata services of clouds are refused, and with
`admin.allowed_backends` every address outside these networks, Unix sockets too unless `unix` stands there.
The balancer's own addresses are refused: a proxied request to the admin side would come from loopback. What
the file names is the operator's own word.

Addresses are judged, not texts: a name is judged by what it resolves to, each time that it is resolved.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lb.core.client_address import UNIX
from lb.settings.backend_spec import parse_url
from lb.settings.balancer_settings import Config, PoolConfig
from lb.settings.listen_address import TcpAddress, parse_address

IP = IPv4Address | IPv6Address
NAT64 = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))
V4_COMPATIBLE = IPv6Network("::/96")
RESERVED: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("169.254.0.0/16", "100.100.100.200", "168.63.129.16", "192.0.0.192")),
    *map(IPv6Network, ("fe80::/10", "fd00:ec2::254", "fd20:ce::254")),
)
"""Link-local networks, and the metadata services of clouds that are elsewhere."""
_RESERVED = [(each, each.version, int(each.network_address), int(each.netmask)) for each in RESERVED]


class AddressRule:
    """The rule of a running balancer: `config` and `own`, the addresses that it listens on, may change."""

    def __init__(self, config: Callable[[], Config], own: Callable[[], Iterable[str]]) -> None:
        self._config, self._own = config, own
        self._read: Config | None = None
        self._pools: Mapping[str, PoolConfig] = {}
        self._places: Set[tuple[str, int]] = frozenset()
        self._next: tuple[Mapping[str, PoolConfig], Set[tuple[str, int]]] = self._pools, self._places
        self._allowed: Sequence[IPv4Network | IPv6Network] = ()
        self._is_limited = self._takes_sockets = False

    def is_own_word(self, host: str, port: int) -> bool:
        """Whether the configuration names a backend there; no such one is judged."""
        self.look_at_pools()
        return (host, port) in self._places

    def look_at_pools(self) -> None:
        """Go on with the pools of the Config, and let go of those before.

        They are read at once where `reading` has not been given them.
        """
        if self._pools is not (pools := self._config().pools):
            if self._next[0] is not pools:
                for _ in self.reading(pools):
                    pass
            self._pools, self._places = self._next

    def reading(self, pools: Mapping[str, PoolConfig]) -> Iterator[None]:
        """Read these pools, which the Config is about to have, one backend with each step."""
        places = set()
        for pool in pools.values():
            for spec in pool.backends:
                places.add(parse_url(spec.url))
                yield
        self._next = pools, places

    def objection(self, host: str, port: int, address: str) -> str | None:
        """Why no backend of this host and port may have this address, or None."""
        return None if self.is_own_word(host, port) else self.judged(host, port, ip_address(address))

    def judged(self, host: str, port: int, address: IP) -> str | None:
        """The objection for a host and port that the configuration does not name."""
        self._look_at_config()
        why = _objection(address, self._allowed, self._is_limited)
        if why is None and any(is_same(address, port, tcp(listening)) for listening in self._own()):
            why = "is this balancer itself"
        is_named = host.partition("%")[0] != str(address)
        return why and f"{f'{host}, which is {address},' if is_named else host} {why}"

    def judged_socket(self, path: str) -> str | None:
        """The objection to a Unix socket that the configuration does not name."""
        self._look_at_config()
        is_out = self._is_limited and not self._takes_sockets
        return f"{path} is a Unix socket, and `unix` is not in admin.allowed_backends" if is_out else None

    def _look_at_config(self) -> None:
        """Read what a reload has changed; there may be thousands of addresses to judge between two."""
        if self._read is not (config := self._config()):
            self._read, allowed = config, config.admin.allowed_backends
            self._allowed = [ip_network(text) for text in allowed if text != UNIX]
            self._is_limited, self._takes_sockets = bool(allowed), UNIX in allowed


def _objection(address: IP, allowed: Sequence[IPv4Network | IPv6Network], is_limited: bool) -> str | None:
    """The rule without the balancer's own addresses. A reserved network opens only if it is listed itself."""
    for meant in meanings(address):
        network = reserved(meant)
        if network is not None and not any(meant in each and is_within(each, network) for each in allowed):
            return "is link-local or a metadata service, which admin.allowed_backends does not name"
    if is_limited and not any(plain(address) in network for network in allowed):
        return "is not in admin.allowed_backends"
    return None


def reserved(address: IP) -> IPv4Network | IPv6Network | None:
    """The reserved network that the address is in."""
    number, version = int(address), address.version
    for network, its_version, start, mask in _RESERVED:
        if version == its_version and number & mask == start:
            return network
    return None


def is_within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return (
        inner.version == outer.version
        and inner.network_address in outer
        and inner.prefixlen >= outer.prefixlen
    )


def plain(address: IP) -> IP:
    """The IPv4 address that is written as an IPv6 one (`::ffff:1.2.3.4`), or the address itself."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def meanings(address: IP) -> Iterator[IP]:
    """The address, and each IPv4 address that a gateway or the system would make of it."""
    yield address
    if not isinstance(address, IPv6Address):
        return
    yield from filter(None, (address.ipv4_mapped, address.sixtofour))
    if address in V4_COMPATIBLE or any(address in network for network in NAT64):
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def is_same(address: IP, port: int, ours: TcpAddress | None) -> bool:
    """Whether connecting to this address and port reaches the listener, as far as its text tells."""
    if ours is None or ours.port != port:
        return False
    there, host = plain(address), ip(ours.host)
    return there == host or (is_here(there) and (not ours.host or (host is not None and is_here(host))))


def is_here(address: IP) -> bool:
    """Whether connecting to it reaches this machine: it is loopback, or every interface."""
    return address.is_loopback or address.is_unspecified


@lru_cache(64)
def tcp(listening: str) -> TcpAddress | None:
    """The address in the name of a listener; None for any other kind of listener."""
    try:
        address = parse_address(listening.removeprefix("http://").rstrip("/"))
    except ValueError:
        return None
    return address if isinstance(address, TcpAddress) else None


def ip(host: str) -> IP | None:
    """The IP address that this text is, a mapped one as IPv4; None for a name."""
    try:
        return plain(ip_address("127.0.0.1" if host.lower().rstrip(".") == "localhost" else host))
    except ValueError:
        return None
