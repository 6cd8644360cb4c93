"""What each server name gets, and what is asked of clients there. It is made whole, and looked up in dicts.

A name belongs to the certificates that have it, exactly or by a `*` in place of its first label, and to one
policy about certificates of clients. A name that nobody has gets nothing: a certificate of another name would
only move the failure to where it cannot be explained.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from lb.tls.certificate import Certificate
from lb.tls.contexts import Need


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """What is asked of clients: a certificate that one of the `authorities` (in PEM) has issued.

    With `tell` backends are told what it says.
    """

    ca_file: str
    authorities: str = field(repr=False)
    need: Need
    tell: bool


@dataclass(slots=True)
class Served:
    """What a server name gets: the context, its certificates (one for each type of key), and the policy."""

    context: ssl.SSLContext
    certificates: tuple[Certificate, ...]
    policy: ClientPolicy | None
    is_challenge: bool = False  # then the connection ends after its handshake (RFC 8737)


class Policies:
    """The policy of each host: its own, else that of the longest `*.` above it, else that for all."""

    def __init__(self, hosts: Mapping[str, ClientPolicy], everywhere: ClientPolicy | None = None) -> None:
        self._hosts = hosts
        self._everywhere = everywhere

    def of(self, host: str) -> ClientPolicy | None:
        """The policy of a host, or of all hosts under a `*.` name."""
        if not self._hosts:
            return self._everywhere
        found = self._hosts.get(host)
        while found is None and host:
            _label, _dot, host = host.partition(".")
            found = self._hosts.get(f"*.{host}")
        return found or self._everywhere

    def all(self) -> tuple[ClientPolicy | None, ...]:
        return (*self._hosts.values(), self._everywhere)

    def hosts(self) -> tuple[str, ...]:
        return tuple(self._hosts)


class Table:
    """What each name gets. It does not change, but for the contexts that a plan replaces."""

    def __init__(
        self,
        names: Mapping[str, Served],
        policies: Policies,
        default: Mapping[ClientPolicy | None, Served],
    ) -> None:
        self.names = names
        self._policies = policies
        self._default = default

    def find(self, server_name: str) -> Served | None:
        """What this name gets; "" is that of a client that names none. None: it is refused."""
        served = self.named(server_name)
        if served is None and self._default:
            served = self._default[self._policies.of(server_name)]
        return served

    def named(self, server_name: str) -> Served | None:
        """What a name gets that a certificate has; None where the default alone could stand in."""
        served = self.names.get(server_name)
        return served or self.names.get(f"*.{server_name.partition('.')[2]}")

    def policy_of(self, host: str) -> ClientPolicy | None:
        """The policy of the host that a request names, which need not be that of its handshake."""
        return self._policies.of(host)


NOTHING = Table({}, Policies({}), {})
