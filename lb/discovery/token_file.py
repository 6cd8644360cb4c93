"""A token that is shown to a server, from a file that others may renew."""

import os
from codecs import BOM_UTF8

import trio

from lb.discovery.backend_source import SourceFailed

LONGEST = 64 * 1024


async def read_token(path: str | None) -> str | None:
    """What is in the file now, None without a file. SourceFailed where there is no token in it."""
    if path is None:
        return None
    return await trio.to_thread.run_sync(_read, path, abandon_on_cancel=True)


def _read(path: str) -> str:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # else opening a pipe blocks
            data = file.read(LONGEST + 1)
    except OSError as exc:
        raise SourceFailed(f"{path}: {exc.strerror or exc}") from exc
    token = data.removeprefix(BOM_UTF8).decode("ascii", errors="replace").strip()
    if not token or len(data) > LONGEST or not (token.isascii() and token.isprintable()):
        raise SourceFailed(f"{path}: there is no token in it")
    return token
