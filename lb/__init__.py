"""An HTTP/1.1 load balancer on Trio.

The rooms, from the top down; imports point only downwards. `lb docs folders` has a line for each module:

    cli         commands and flags, and where each command is
    program     the balancer and the admin side together, as `lb run` starts them
    process     signals, the service manager, the exit code
    upgrade     the program is replaced by another one, on the same sockets
    workers     several processes as one balancer
    app         the nursery tree, the order in which it ends
    steering    the side that decides: registry, names, probes, sources, state, reloads
    traffic     the side that carries requests, which is told what was decided
    cluster     many balancers that share in etcd what operators wish
    discovery   backends that are found
    acme        certificates that are ordered and renewed
    control     what the admin side is handed of a running balancer
    probes      active health checks of backends
    proxy       client connections, exchanges, connections to backends
    observe     counters, logs, records, events, the audit trail
    config      lb.toml and flags, reloads, the state file, tokens
    etcd        a client of etcd
    http_client a client of servers that tell of backends
    net         sockets without HTTP: listen, connect, resolve, send, receive, splice
    certificate_files   the contexts of TLS as files change
    http1       bytes to messages and back, without I/O; h11 judges every head that is not plain
    tls         TLS without sockets: the ClientHello, certificates, contexts
    core        the decisions, without I/O: which backend, whether to retry, whether a drain is over
    settings    every setting with its default and its rule
    errors      how an exchange can fail: at whose fault, with which status and reason

Beside them is `remote`, the commands that talk to a running balancer: a client of the admin API.

    async with lb.open_balancer(lb.build({"listen": ["127.0.0.1:0"]})) as balancer:
        balancer.registry.add(lb.BackendSpec(url="http://127.0.0.1:3000"))
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.app import Balancer, open_balancer
    from lb.config.loader import build
    from lb.errors import ConfigError, LBError
    from lb.settings.backend_spec import BackendSpec
    from lb.settings.balancer_settings import Config

_MODULES = {
    "Balancer": "lb.app",
    "BackendSpec": "lb.settings.backend_spec",
    "Config": "lb.settings.balancer_settings",
    "ConfigError": "lb.errors",
    "LBError": "lb.errors",
    "build": "lb.config.loader",
    "open_balancer": "lb.app",
}

__all__ = ["BackendSpec", "Balancer", "Config", "ConfigError", "LBError", "build", "open_balancer"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `lb --version` imports none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
