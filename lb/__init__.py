"""An HTTP/1.1 load balancer on Trio.

The rooms, from the street to the cellar; imports point only downwards:

    cli       commands and flags; the only file that knows both `lb` and `admin`
    app       the nursery tree, signals, the order of the end
    probes    active health checks of backends
    proxy     client connections, exchanges, connections to backends
    net       sockets without HTTP: listen, connect, resolve, send, receive, splice
    http1     bytes to messages and back, without I/O; h11 is the judge
    core      the decisions, pure: who takes the next request, may it be tried again, is a drain over
    errors    how an exchange can fail: whose fault, which status, which reason

Beside them: `config` (lb.toml, flags, reloads, the state file), `observe` (counters, logs, records, events)
and `remote`, a client of the operator's API that knows none of them.

    async with lb.open_balancer(lb.build({"listen": ["127.0.0.1:0"]})) as balancer:
        balancer.registry.add(lb.BackendSpec(url="http://127.0.0.1:3000"))
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.app import Balancer, open_balancer
    from lb.config.loader import build
    from lb.config.settings import Config
    from lb.core.backend import BackendSpec
    from lb.errors import ConfigError, LBError

_ROOMS = {
    "Balancer": "lb.app",
    "BackendSpec": "lb.core.backend",
    "Config": "lb.config.settings",
    "ConfigError": "lb.errors",
    "LBError": "lb.errors",
    "build": "lb.config.loader",
    "open_balancer": "lb.app",
}

__all__ = ["BackendSpec", "Balancer", "Config", "ConfigError", "LBError", "build", "open_balancer"]


def __getattr__(name: str) -> object:
    """The public names, each imported when it is first asked for: `lb --version` needs none of them."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
