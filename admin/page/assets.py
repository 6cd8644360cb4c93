"""/page/...: the script, the style and the icons of the page, as files with entity tags."""

import gzip
import hashlib
from importlib.resources import files
from typing import NamedTuple

from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem

SVG = "image/svg+xml"
MEDIA_TYPES = {
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "ok.svg": SVG,
    "warn.svg": SVG,
    "bad.svg": SVG,
}


class Asset(NamedTuple):
    """One file: its bytes, the same compressed, its media type and its entity tag."""

    body: bytes
    zipped: bytes
    media_type: str
    tag: str


def operations() -> tuple[Operation, ...]:
    """The one operation. It is open: none of the files holds a number of this balancer."""
    served = {name: _asset(name, media_type) for name, media_type in MEDIA_TYPES.items()}

    async def show(call: Call, file: str) -> Response:
        found = served.get(file)
        if found is None:
            raise Problem("not-found", f"the page has no file {file!r}")
        headers = {"ETag": f'W/"{found.tag}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if call.request.if_none_match.contains_weak(found.tag):
            return responses.nothing(304, headers)
        if call.request.accept_encodings.quality("gzip") <= 0:
            return Response(found.body, headers=headers, content_type=found.media_type)
        headers["Content-Encoding"] = "gzip"
        return Response(found.zipped, headers=headers, content_type=found.media_type)

    return (
        Operation(
            method="GET",
            path="/page/{file}",
            summary="script, style and icons of the page that a browser gets at /",
            handler=show,
            answers={200: "The file.", 304: "It has not changed."},
            media_types=tuple(dict.fromkeys(MEDIA_TYPES.values())),
            problems=(404,),
            is_open=True,
        ),
    )


def _asset(name: str, media_type: str) -> Asset:
    body = content(name)
    tag = hashlib.sha256(body).hexdigest()[:16]
    return Asset(body, gzip.compress(body, mtime=0), media_type, tag)


def content(name: str) -> bytes:
    """One of the files of this package."""
    return files("admin.page").joinpath(name).read_bytes()
