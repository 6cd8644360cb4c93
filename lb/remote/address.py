"""Which balancer is meant: `--admin`, or LB_ADMIN, or what ./lb.toml says, or the default address.

The token comes from `--token-file` or LB_ADMIN_TOKEN. The token file that ./lb.toml names is read only where
the address comes from ./lb.toml too, so that a token is never sent to a balancer that it was not meant for.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lb.config.tokens import is_sendable
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable
from lb.settings.balancer_settings import TOKEN_VARIABLE, AdminConfig

ADDRESS_VARIABLE = "LB_ADMIN"
FILE = "lb.toml"
EXPECTED = "expected a URL such as http://127.0.0.1:9000, HOST:PORT or unix:PATH"
ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Hosts that mean every interface, and the loopback address that reaches such a listener."""


@dataclass(frozen=True, slots=True)
class Where:
    """The URL below which the API is, the path of the Unix socket if it is one, and the token to send."""

    url: str
    socket: str | None = None
    token: str | None = None

    def __str__(self) -> str:
        return printable(self.url if self.socket is None else f"unix:{self.socket}")


def find(
    admin: str | None = None, token_file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Where:
    """The balancer and the token to use; Failed (misused) where a value given cannot be used."""
    named = admin or environ.get(ADDRESS_VARIABLE)
    table = {} if named else _table()
    text = named or str(table.get("listen", AdminConfig().listen))
    url, socket = _parsed(text, "--admin" if named else FILE)
    return Where(url, socket, _token(token_file, environ, table))


def _table() -> Mapping[str, Any]:
    """The table `admin` of ./lb.toml, empty without one. Only the balancer checks the rest of the file."""
    if not Path(FILE).exists():
        return {}
    try:
        table = tomllib.loads(Path(FILE).read_text()).get("admin", {})
    except (OSError, ValueError) as exc:
        hint = f"say with --admin or {ADDRESS_VARIABLE} where the balancer is"
        raise Failed(f"./{FILE}: {printable(exc)}; {hint}", Code.MISUSED) from exc
    return table if isinstance(table, dict) else {}


def _parsed(text: str, source: str) -> tuple[str, str | None]:
    """The URL, and the path of a Unix socket or None; `source` names in messages where the text is from."""
    if text.startswith("unix:") and text[5:]:
        return "http://localhost", text[5:]
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port = None
    is_right = url.isprintable() and " " not in url and parts.scheme in ("http", "https")
    if port == 0 or not is_right or (port is None and "://" not in text):
        raise Failed(f"{source}: {printable(text)!r} names no balancer; {EXPECTED}", Code.MISUSED)
    host, colon, rest = parts.netloc.rpartition(":") if port else (parts.netloc, "", "")
    if not (host or port):
        raise Failed(f"{source}: {printable(text)!r} names no host; {EXPECTED}", Code.MISUSED)
    return f"{parts.scheme}://{ANY.get(host, host)}{colon}{rest}{parts.path.rstrip('/')}", None


def _token(file: Path | None, environ: Mapping[str, str], table: Mapping[str, Any]) -> str | None:
    if file is not None:
        return _sendable(_read(file), printable(file))
    if environ.get(TOKEN_VARIABLE):
        return _sendable(environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE)
    if named := table.get("token_file"):
        return _sendable(_read(Path(str(named))), printable(named))
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace").strip()
    except OSError as exc:
        why = f"{printable(file)} cannot be read: {exc.strerror}"
        raise Failed(f"the token: {why}; --token-file names another one", Code.MISUSED) from exc


def _sendable(token: str, where: str) -> str:
    if not is_sendable(token):
        raise Failed(f"{where}: expected a token, one word of visible ASCII characters", Code.MISUSED)
    return token
