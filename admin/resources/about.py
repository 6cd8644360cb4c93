"""What this is and how to use it: /, /info, /openapi.json and the pages behind a problem's `type`."""

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import msgspec
import trio
from quart import Response, g

from admin.page import page
from admin.protocol import problems, responses
from admin.protocol.openapi import document
from admin.protocol.operation import Ask, Operation
from admin.protocol.problems import Problem
from admin.security import access
from admin.security.keyring import NOBODY
from admin.views import backend_json
from lb.config.tokens import Token
from lb.control import Control

EXAMPLES = """
Add a backend, drain it and see it leave:

  curl HERE/backends -d url=http://127.0.0.1:8084 -d id=web4
  curl -X POST 'HERE/backends/web4/drain?wait=30s'
  curl -X DELETE HERE/backends/web4
  curl 'HERE/backends?format=table'

Probe the backends of a pool, and change its policy, while requests flow:

  curl -X PATCH HERE/pools/default -d probe.path=/healthz -d probe.interval=5s
  curl -X PATCH HERE/pools/default -d policy=least_requests -d slow_start=30s
  curl -X PATCH HERE/pools/default -d probe=

Bodies are JSON or forms; a setting that is null, or empty in a form, is the default again. Durations are
500ms, 30s, 2m or seconds. Errors are problem+json.
"""


def _version() -> str:
    try:
        return version("trio-lb")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"


VERSION = _version()


class Caller(msgspec.Struct, kw_only=True):
    """Whose token the request bore, and what that may do; "anonymous" where none is needed."""

    name: str
    scope: str


class Info(msgspec.Struct, kw_only=True):
    """Who answers, on which host, from which configuration, and whom."""

    name: str = "trio-lb"
    version: str = VERSION
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


def operations(control: Control, everything: Callable[[], Sequence[Operation]]) -> tuple[Operation, ...]:
    """`everything` is asked for all operations, of which these are some, when they are to be described."""
    shown = page.Page(control, VERSION)

    async def home(ask: Ask) -> Response:
        if page.is_wanted(ask.request):
            return await shown.show(describe(control, g.token) if g.is_let_in else None)
        if not g.is_let_in:
            raise access.unauthorized()
        return responses.text(cheat_sheet(everything(), ask.request.host))

    async def info(ask: Ask) -> Response:
        return responses.json(describe(control, g.get("token") or NOBODY))

    async def openapi(ask: Ask) -> Response:
        return responses.json(document(everything(), VERSION))

    async def problem(ask: Ask, slug: str) -> Response:
        page = problems.page(slug)
        if page is None:
            raise Problem("not-found", f"there is no problem {slug!r}")
        return responses.text(page)

    return (
        Operation(
            method="GET",
            path="/",
            says="this page; for a browser one to watch and steer the balancer on",
            view=home,
            answers={200: "Plain text, or HTML where Accept asks for it."},
            texts=("text/plain", "text/html"),
            problems=(401,),
            is_open=True,
        ),
        Operation(method="GET", path="/info", says="version and uptime", view=info, answers={200: Info}),
        Operation(
            method="GET",
            path="/openapi.json",
            says="this API, described for machines",
            view=openapi,
            answers={200: "OpenAPI 3.1."},
            texts=(responses.JSON,),
        ),
        Operation(
            method="GET",
            path="/problems/{slug}",
            says="what a problem's `type` means",
            view=problem,
            answers={200: "Plain text."},
            texts=(responses.TEXT,),
            problems=(404,),
            is_open=True,
        ),
    )


def describe(control: Control, token: Token) -> Info:
    """The facts of this moment, for whoever bears this token."""
    return Info(
        python=platform.python_version(),
        trio=trio.__version__,
        pid=os.getpid(),
        node=platform.node(),
        source=str(control.reload.source) if control.reload is not None else "code",
        started=backend_json.timestamp(control.wall(control.started)),
        uptime_seconds=round(control.registry.now() - control.started, 3),
        listening=control.listening,
        stopping=control.stopping,
        revision=control.registry.revision,
        caller=Caller(name=token.name, scope=token.scope.value),
    )


def cheat_sheet(operations: Sequence[Operation], here: str) -> str:
    """Every operation on a line, and examples to paste for whoever calls us by the name `here`."""
    lines = [f"{each.method:<7}{each.path:<28}{each.says}" for each in operations]
    return "\n".join([f"trio-lb {VERSION}", "", *lines, EXAMPLES.replace("HERE", here)])
