"""/page/RELEASE/FILE: the scripts, the style and the icons of the page.

RELEASE is a digest over all of these files. The page refers to its own release, the modules of the script
import each other by relative paths, and no other release is served. So a browser may keep a file for ever,
and never runs a module of one release with a module of another.
"""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem

MEDIA_TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
FOLDERS = ("script", "static")
FOR_EVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """One file: its bytes, the same compressed, its media type and its entity tag."""

    body: bytes
    zipped: bytes
    media_type: str
    tag: str


class Assets(NamedTuple):
    """All files by their names, and the release that they make together."""

    release: str
    files: Mapping[str, Asset]

    @property
    def scripts(self) -> list[str]:
        """The names of the modules of the script."""
        return [name for name in self.files if name.endswith(".js")]


@cache
def load_assets() -> Assets:
    """Read the files of the folders, once: they belong to this release of the program."""
    found = [each for folder in FOLDERS for each in files("admin.page").joinpath(folder).iterdir()]
    loaded = {
        each.name: _asset(each.name, each.read_bytes())
        for each in sorted(found, key=lambda file: file.name)
        if _suffix(each.name) in MEDIA_TYPES
    }
    whole = hashlib.sha256("".join(f"{name} {each.tag}\n" for name, each in loaded.items()).encode())
    return Assets(whole.hexdigest()[:12], loaded)


def operations(assets: Assets) -> tuple[Operation, ...]:
    """The one operation. It is open: none of the files holds a number of this balancer."""

    async def show(call: Call, release: str, file: str) -> Response:
        found = assets.files.get(file) if release == assets.release else None
        if found is None:
            raise Problem("not-found", f"the page has no file {file!r} in release {release!r}")
        headers = {"ETag": f'W/"{found.tag}"', "Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        if call.request.if_none_match.contains_weak(found.tag):
            return responses.nothing(304, headers)
        if call.request.accept_encodings.quality("gzip") <= 0:
            return Response(found.body, headers=headers, content_type=found.media_type)
        headers["Content-Encoding"] = "gzip"
        return Response(found.zipped, headers=headers, content_type=found.media_type)

    return (
        Operation(
            method="GET",
            path="/page/{release}/{file}",
            summary="script, style and icons of the page that a browser gets at /",
            handler=show,
            answers={200: "The file.", 304: "It has not changed."},
            media_types=tuple(MEDIA_TYPES.values()),
            problems=(404,),
            is_open=True,
        ),
    )


def _asset(name: str, body: bytes) -> Asset:
    tag = hashlib.sha256(body).hexdigest()[:16]
    return Asset(body, gzip.compress(body, mtime=0), MEDIA_TYPES[_suffix(name)], tag)


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]
