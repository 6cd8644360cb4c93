"""What /info and the head of the page say of this balancer, and of the token that asks."""

import os
import platform

import msgspec
import trio

from admin.views.times import timestamp
from lb.about import BUILD, VERSION, Build
from lb.config.tokens import Token
from lb.control import Control


class Caller(msgspec.Struct, kw_only=True):
    """The token of the request, and what it may do; "anonymous" where no token is needed."""

    name: str
    scope: str


class Info(msgspec.Struct, kw_only=True):
    """One balancer: its version and build, its host, its configuration, its addresses, and the caller."""

    name: str = "trio-lb"
    version: str = VERSION
    build: Build = BUILD
    python: str
    trio: str
    pid: int
    node: str
    source: str
    started: str
    uptime_seconds: float
    listening: list[str]
    stopping: bool
    revision: int
    caller: Caller


def balancer_info(control: Control, token: Token) -> Info:
    """The facts of this moment, for a request with this token."""
    return Info(
        python=platform.python_version(),
        trio=trio.__version__,
        pid=os.getpid(),
        node=platform.node(),
        source=str(control.reload.source) if control.reload is not None else "code",
        started=timestamp(control.wall(control.started)),
        uptime_seconds=round(control.registry.now() - control.started, 3),
        listening=control.listening,
        stopping=control.stopping,
        revision=control.registry.revision,
        caller=Caller(name=token.name, scope=token.scope.value),
    )
