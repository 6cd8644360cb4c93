"""/: the page for browsers, with the numbers of now in plain HTML, and for others the cheat sheet.

The server renders what the script would: rows by id, bars as SVG whose sizes are attributes, since the policy
below allows no inline style. A new row is a copy of the `<template>` of rows, so both have one markup.
A browser cannot send a token with a navigation. So the page is open, but without the token it holds no
numbers: the script asks for the token, and then calls the API with it as any client does.
"""

import gzip
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import jinja2
import msgspec
from quart import Request, Response, g
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from admin.page import shapes, tls_panels, trouble_strip, wording
from admin.page.assets import Assets
from admin.page.condition import UNKNOWN, condition
from admin.page.event_log import log_line
from admin.page.folding import UNFOLDED, folds
from admin.page.row_order import by_pool, in_trouble
from admin.page.tones import TONES, tone_of_5xx, tone_of_available, tone_of_pool, tone_of_worker
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.cheat_sheet import cheat_sheet
from admin.protocol.operation import Operation
from admin.security.authentication import unauthorized
from admin.views.balancer_info import Info, balancer_info
from admin.views.certificate_json import certificates
from admin.views.handshake_json import MOST_KEPT, handshakes
from admin.views.listed_routes import route_list
from admin.views.missing_workers import in_words
from admin.views.request_json import recorded
from admin.views.stats_json import BackendStats, PoolStats, Stats, described
from admin.views.trouble_json import TroubleView
from lb.about import VERSION
from lb.control import Control
from lb.core.measures.rates import Codes, Rates
from lb.core.passed_over import FEW
from lb.observe.all_exchanges import Wanted
from lb.slices import freed, listed

FAILURES = 30
SLOWEST = 8
SLOWEST_SECONDS = 3600.0
EVENTS = 50
MOST_ROUTES = 20
LOGGED = frozenset(
    {"backend", "health", "drain", "config", "balancer", "worker", "certificate", "renewal", "trouble"}
)
POLICY = (
    "default-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)
HTML = "text/html; charset=utf-8"
MOST_ZIPPED = 64 * 1024
"""A longer page would hold the loop for milliseconds while it is compressed."""
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
    source="config",
    missing_seconds=None,
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
    held=0,
    failing=[],
    rates=Rates(),
    minute=Codes(),
)
"""The pool in the template of a pool."""
BLANK_TROUBLE = TroubleView(
    kind="down", pool=None, backend=None, sentence="", advice="", since="", seconds=0.0
)
"""The trouble in the template of one."""
FILTERS: tuple[Callable[..., object], ...] = (
    wording.rate,
    wording.percent,
    wording.took,
    wording.quantile,
    wording.span,
    wording.beside_p50,
    wording.of_worker,
    wording.clock,
    wording.beside,
    wording.where,
    wording.found,
    wording.held,
    wording.silent,
    wording.plainly,
    wording.checked,
    wording.named,
    wording.mistakes,
    wording.client_mistakes,
    wording.middle,
    wording.came_of,
    wording.peak_of,
    wording.least,
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
    tls_panels.about_certificate,
    tls_panels.by_reason,
    tls_panels.of_all,
    tls_panels.of_certificate,
    tls_panels.of_handshakes,
    tls_panels.tone_of_certificate,
    trouble_strip.more_troubles,
    trouble_strip.tone_of_trouble,
    tone_of_pool,
    tone_of_available,
    tone_of_5xx,
    tone_of_worker,
)
"""The filters of the template, each under its own name."""
NO_NUMBERS: Mapping[str, object] = {
    "stats": None,
    "rows": {},
    "folds": {},
    "troubled": frozenset(),
    "routes": (),
    "more_routes": "",
    "failures": [],
    "missing": "",
    "slowest": [],
    "slowest_missing": "",
    "condition": UNKNOWN,
    "events": [],
    "info": None,
    "certificates": None,
    "handshakes": None,
}
"""What the page shows without the token."""


def _here(request: Request) -> str:
    """What stands before a path in a command; curl takes plain HTTP where there is no scheme."""
    return f"https://{request.host}" if request.scheme == "https" else request.host


def operations(
    control: Control, assets: Assets, everything: Callable[[], Sequence[Operation]]
) -> tuple[Operation, ...]:
    """The one operation; `everything` returns all operations, which the cheat sheet lists."""
    page = Page(control, assets)

    async def home(call: Call) -> Response:
        if wants_html(call.request):
            info = balancer_info(control, g.token) if g.is_let_in else None
            takes_zipped = call.request.accept_encodings.quality("gzip") > 0
            return await page.show(info, takes_zipped=takes_zipped)
        if not g.is_let_in:
            raise unauthorized(call.request)
        return responses.text(cheat_sheet(everything(), _here(call.request)))

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
        unfolded=UNFOLDED,
        blank_trouble=BLANK_TROUBLE,
        most_troubles=trouble_strip.MOST,
        states=TONES,
    )
    return environment.get_template("page.html")


class Page:
    """The page of one balancer."""

    def __init__(self, control: Control, assets: Assets) -> None:
        self._control = control
        self._template = _template(assets.release, tuple(assets.scripts))

    async def show(self, info: Info | None, *, takes_zipped: bool) -> Response:
        """The whole page; without `info` it has no numbers."""
        shown = NO_NUMBERS if info is None else {**await self._numbers(), "info": info}
        parts = await listed(part.encode() for part in self._template.generate(**shown))
        if isinstance(stats := shown["stats"], Stats):
            await freed(stats.backends)
        headers = {
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "no-referrer",
            "Vary": "Accept, Accept-Encoding",
        }
        if takes_zipped and sum(map(len, parts)) <= MOST_ZIPPED:
            parts = [gzip.compress(b"".join(parts), mtime=0)]
            headers["Content-Encoding"] = "gzip"
        return responses.long(parts, HTML, headers=headers)

    async def _numbers(self) -> Mapping[str, object]:
        control = self._control
        await control.workers.refresh()
        now = await described(control, with_history=True)
        rows = by_pool(now)
        kinds = await control.exchanges.kinds(Wanted(FAILURES))
        failures = [recorded(control, kind.newest, kind, FEW) for kind in kinds.items]
        frames = control.feed.newest(LOGGED, EVENTS)
        events = [log_line(msgspec.json.decode(frame.body)) for frame in frames]
        return {
            "stats": now,
            "rows": rows,
            "folds": folds(now, rows),
            "troubled": in_trouble(now),
            **self._routed(),
            "failures": failures,
            "missing": in_words(kinds.missing),
            **await self._slowest(),
            "condition": condition(now),
            "events": events,
            **await self._secured(),
        }

    async def _slowest(self) -> Mapping[str, object]:
        """Of those that were answered 2xx: the others are told among the failures."""
        control = self._control
        since = control.registry.now() - SLOWEST_SECONDS
        found = await control.exchanges.slowest(Wanted(SLOWEST, status="2xx", since=since))
        shown = [recorded(control, exchange, None, FEW) for exchange in found.items]
        return {"slowest": shown, "slowest_missing": in_words(found.missing)}

    def _routed(self) -> Mapping[str, object]:
        found = route_list(self._control.config, MOST_ROUTES)
        more = found.total - len(found.items)
        return {"routes": found.items, "more_routes": f"{more} more" if more else ""}

    async def _secured(self) -> Mapping[str, object]:
        tls = self._control.tls
        if tls is None:
            return {"certificates": None, "handshakes": None}
        found = await certificates(self._control, tls, tls_panels.MOST_CERTIFICATES)
        return {"certificates": found, "handshakes": handshakes(tls.handshakes, MOST_KEPT)}
