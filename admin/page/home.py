"""/: the page for browsers, with the numbers of now in plain HTML, and for others the cheat sheet.

The server renders what the script would: rows by id, bars as SVG whose sizes are attributes, since the policy
below allows no inline style. A new row is a copy of the `<template>` of rows, so both have one markup.
A browser cannot send a token with a navigation. So the page is open, but without the token it holds no
numbers: the script asks for the token, and then calls the API with it as any client does.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import islice

import jinja2
import msgspec
from quart import Request, Response, g
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from admin.page import shapes, wording
from admin.page.assets import Assets
from admin.page.condition import UNKNOWN, condition
from admin.page.event_log import log_line
from admin.page.tones import TONES, tone_of_5xx, tone_of_pool
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.cheat_sheet import cheat_sheet
from admin.protocol.operation import Operation
from admin.protocol.version import VERSION
from admin.security.authentication import unauthorized
from admin.slices import listed
from admin.views.balancer_info import Info, balancer_info
from admin.views.request_json import recorded
from admin.views.stats_json import BackendStats, PoolStats, described
from lb.control import Control
from lb.core.measures.rates import Codes, Rates
from lb.core.passed_over import FEW

FAILURES = 30
EVENTS = 50
LOGGED = frozenset({"backend", "health", "drain", "config", "balancer"})
POLICY = (
    "default-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)
HTML = "text/html; charset=utf-8"
LONGEST_ACCEPT = 1000
"""What is read of an Accept; that of a browser has less than two hundred bytes."""
BLANK = BackendStats(
    id="",
    pool="",
    url="",
    state="ready",
    state_seconds=0.0,
    why="",
    checks="",
    labels={},
    weight=1,
    available=True,
    in_flight=0,
    cap=None,
    share=None,
    expected_share=0.0,
    connections=0,
    idle_connections=0,
    drain=None,
    rates=Rates(),
    minute=Codes(),
)
"""The backend in the template of a row."""
BLANK_POOL = PoolStats(
    name="",
    policy="",
    in_flight=0,
    cap=None,
    queued=0,
    available=0,
    backends=0,
    panicking=False,
    rates=Rates(),
    minute=Codes(),
)
"""The pool in the template of a pool."""
FILTERS: tuple[Callable[..., object], ...] = (
    wording.rate,
    wording.percent,
    wording.took,
    wording.span,
    wording.clock,
    wording.beside,
    wording.where,
    wording.plainly,
    wording.checked,
    wording.named,
    wording.mistakes,
    wording.manned,
    wording.kind,
    wording.alike,
    wording.path_part,
    shapes.part,
    shapes.ticks,
    shapes.drained,
    shapes.stack,
    shapes.phases,
    shapes.spark,
    shapes.area,
    tone_of_pool,
    tone_of_5xx,
)
"""The filters of the template, each under its own name."""
NO_NUMBERS: Mapping[str, object] = {
    "stats": None,
    "failures": [],
    "condition": UNKNOWN,
    "events": [],
    "info": None,
}
"""What the page shows without the token."""


def operations(
    control: Control, assets: Assets, everything: Callable[[], Sequence[Operation]]
) -> tuple[Operation, ...]:
    """The one operation; `everything` returns all operations, which the cheat sheet lists."""
    page = Page(control, assets)

    async def home(call: Call) -> Response:
        if wants_html(call.request):
            return await page.show(balancer_info(control, g.token) if g.is_let_in else None)
        if not g.is_let_in:
            raise unauthorized()
        return responses.text(cheat_sheet(everything(), call.request.host))

    return (
        Operation(
            method="GET",
            path="/",
            summary="this page; for a browser one to watch and steer the balancer on",
            handler=home,
            answers={200: "Plain text, or HTML where Accept asks for it."},
            media_types=("text/plain", "text/html"),
            problems=(401,),
            is_open=True,
        ),
    )


def wants_html(request: Request) -> bool:
    """Whether a browser asks: that says that it reads HTML, while curl says that it reads anything."""
    accepted = parse_accept_header(request.headers.get("Accept", "")[:LONGEST_ACCEPT], MIMEAccept)
    return accepted.best_match(["text/plain", "text/html"]) == "text/html"


@cache
def _template(release: str, scripts: Sequence[str]) -> jinja2.Template:
    """The page without its numbers. To compile it takes longer than to make the rest of the app."""
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("admin.page", ""),
    )
    environment.filters.update({each.__name__: each for each in FILTERS})
    environment.globals.update(
        version=VERSION,
        release=release,
        scripts=scripts,
        blank=BLANK,
        blank_pool=BLANK_POOL,
        states=TONES,
    )
    return environment.get_template("page.html")


class Page:
    """The page of one balancer."""

    def __init__(self, control: Control, assets: Assets) -> None:
        self._control = control
        self._template = _template(assets.release, tuple(assets.scripts))

    async def show(self, info: Info | None) -> Response:
        """The whole page; without `info` it has no numbers."""
        shown = NO_NUMBERS if info is None else {**await self._numbers(), "info": info}
        text = "".join(await listed(self._template.generate(**shown)))
        headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Vary": "Accept"}
        return Response(text, headers=headers, content_type=HTML)

    async def _numbers(self) -> Mapping[str, object]:
        control = self._control
        now = await described(control, with_history=True)
        kinds = islice(control.recorder.kinds(), FAILURES)
        failures = [recorded(control, kind.newest, kind, FEW) for kind in kinds]
        frames = control.feed.newest(LOGGED, EVENTS)
        events = [log_line(msgspec.json.decode(frame.body)) for frame in frames]
        return {"stats": now, "failures": failures, "condition": condition(now), "events": events}
