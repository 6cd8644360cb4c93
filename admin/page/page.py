"""The page at / for browsers: the numbers of now in plain HTML, which a script then keeps up to date.

The server renders what the script would: rows by id, bars as SVG whose sizes are attributes, since the policy
below allows no inline style. A new row is a copy of the `<template>` of rows: there is one markup for both.
A browser cannot send a token with a navigation. So the page and its files are open, but without the token it
holds no numbers: the script asks for the token and then speaks to the API as everybody does.
"""

import gzip
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import jinja2
import msgspec
import trio
from quart import Request, Response

from admin.page import wording
from admin.protocol import responses
from admin.protocol.operation import Ask, Operation
from admin.protocol.problems import Problem
from admin.resources import recorded_requests, stats
from lb.control import Control
from lb.core.measures.rates import Codes, Rates

if TYPE_CHECKING:
    from admin.resources.about import Info

FAILURES = 30
EVENTS = 50
LOGGED = frozenset({"backend", "health", "drain", "config", "balancer"})
BATCH = 200  # about a millisecond
POLICY = (
    "default-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)
HTML = "text/html; charset=utf-8"
SVG = "image/svg+xml"
MEDIA_TYPES = {
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "ok.svg": SVG,
    "warn.svg": SVG,
    "bad.svg": SVG,
}
BLANK = stats.BackendStats(
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
"""What the template of a row is made of."""
BLANK_POOL = stats.PoolStats(
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


NOTHING: Mapping[str, object] = {
    "stats": None,
    "failures": [],
    "health": wording.UNKNOWN,
    "events": [],
    "info": None,
}
"""What is shown to whoever may not see numbers."""


class File(NamedTuple):
    """One of the files that the page refers to, as it is and as it travels to whoever takes gzip."""

    body: bytes
    zipped: bytes
    media_type: str
    tag: str


def operations() -> tuple[Operation, ...]:
    """The files; the page itself shares its path with the cheat sheet."""
    served = {name: _file(name, media_type) for name, media_type in MEDIA_TYPES.items()}

    async def show(ask: Ask, file: str) -> Response:
        found = served.get(file)
        if found is None:
            raise Problem("not-found", f"the page has no file {file!r}")
        headers = {"ETag": f'W/"{found.tag}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if ask.request.if_none_match.contains_weak(found.tag):
            return responses.nothing(304, headers)
        if ask.request.accept_encodings.quality("gzip") <= 0:
            return Response(found.body, headers=headers, content_type=found.media_type)
        headers["Content-Encoding"] = "gzip"
        return Response(found.zipped, headers=headers, content_type=found.media_type)

    return (
        Operation(
            method="GET",
            path="/page/{file}",
            says="script, style and icons of the page that a browser gets at /",
            view=show,
            answers={200: "The file.", 304: "It has not changed."},
            texts=tuple(dict.fromkeys(MEDIA_TYPES.values())),
            problems=(404,),
            is_open=True,
        ),
    )


def is_wanted(request: Request) -> bool:
    """A browser says that it reads HTML; curl says that it reads anything."""
    return request.accept_mimetypes.best_match(["text/plain", "text/html"]) == "text/html"


class Page:
    """The page of one balancer."""

    def __init__(self, control: Control, version: str) -> None:
        self._control = control
        environment = jinja2.Environment(
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            loader=jinja2.FunctionLoader(_source),
        )
        environment.filters.update(wording.FILTERS)
        environment.globals.update(version=version, blank=BLANK, blank_pool=BLANK_POOL, states=wording.TONES)
        self._template = environment.get_template("page.html")

    async def show(self, info: "Info | None") -> Response:
        """The whole page; with numbers for whoever may see them, which is said by `info`, None otherwise."""
        shown = NOTHING if info is None else {**self._numbers(), "info": info}
        text = "".join([chunk async for chunk in _in_turns(self._template.generate(**shown))])
        headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Vary": "Accept"}
        return Response(text, headers=headers, content_type=HTML)

    def _numbers(self) -> Mapping[str, object]:
        control = self._control
        now = stats.describe(control)
        kinds = islice(control.recorder.kinds(), FAILURES)
        views = [recorded_requests.view(control, kind.newest, kind) for kind in kinds]
        told = [
            wording.entry(msgspec.json.decode(frame.body)) for frame in control.feed.newest(LOGGED, EVENTS)
        ]
        return {"stats": now, "failures": views, "health": wording.health(now), "events": told}


async def _in_turns(chunks: Iterable[str]) -> AsyncIterator[str]:
    """The traffic has its turn now and then: 500 rows take as long as many requests."""
    for number, chunk in enumerate(chunks):
        if number % BATCH == BATCH - 1:
            await trio.lowlevel.checkpoint()
        yield chunk


def _file(name: str, media_type: str) -> File:
    body = content(name)
    tag = hashlib.sha256(body).hexdigest()[:16]
    return File(body, gzip.compress(body, mtime=0), media_type, tag)


def _source(name: str) -> str:
    return content(name).decode()


def content(name: str) -> bytes:
    """One of the files of this package."""
    return files("admin.page").joinpath(name).read_bytes()
