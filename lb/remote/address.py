"""Which balancer is meant: `--admin`, or LB_ADMIN, or what ./lb.toml says, or the default address.

The token comes from `--token-file` or LB_ADMIN_TOKEN, files of TLS likewise (`lb.remote.secure`). All these,
as `--admin` and LB_ADMIN, are the operator's own words. ./lb.toml is whatever lies in the current folder. So
the operator's token goes to an address of ./lb.toml only where that is loopback, and the token file that
./lb.toml names is read only for an address of this machine that ./lb.toml names too.
"""

import os
import socket
import stat
from codecs import BOM_UTF8
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from lb.config import secret_file
from lb.config.secret_file import is_sendable
from lb.remote.exits import Code, Failed
from lb.remote.secure import Files, context_for
from lb.remote.terminal_text import printable
from lb.settings.admin_defaults import ADMIN_LISTEN, TOKEN_VARIABLE

if TYPE_CHECKING:
    import ssl

ADDRESS_VARIABLE = "LB_ADMIN"
NO_FILES = Files()
FILE = "lb.toml"
EXPECTED = "expected a URL such as http://127.0.0.1:9000, HOST:PORT or unix:PATH"
ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Hosts that mean every interface, and the loopback address that reaches such a listener."""


class Where(NamedTuple):
    """The URL below which the API is, the path of the Unix socket if it is one, and the token to send.

    `tls` is there where the URL begins with https.
    """

    url: str
    socket: str | None = None
    token: str | None = None
    tls: "ssl.SSLContext | None" = None

    def __str__(self) -> str:
        return printable(self.url if self.socket is None else f"unix:{self.socket}")


def find(
    admin: str | None = None,
    token_file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    files: Files = NO_FILES,
) -> Where:
    """The balancer, and the token and the TLS to use; Failed (misused) where a value given cannot be used."""
    where = _found(admin, token_file, environ)
    return where._replace(tls=context_for(where.url, files, environ))


def _found(admin: str | None, token_file: Path | None, environ: Mapping[str, str]) -> Where:
    if named := admin or environ.get(ADDRESS_VARIABLE):
        url, path = _parsed(named, "--admin")
        return Where(url, path, _operators_token(token_file, environ))
    table = _table()
    where = _listening(str(table["listen"])) if "listen" in table else Where(*_parsed(ADMIN_LISTEN, FILE))
    return where._replace(token=_token_for(where, table, token_file, environ))


def _table() -> Mapping[str, Any]:
    """The table `admin` of ./lb.toml, empty without one. Only the balancer checks the rest of the file."""
    if not Path(FILE).exists():
        return {}
    import tomllib

    try:
        table = tomllib.loads(Path(FILE).read_bytes().decode("utf-8-sig")).get("admin", {})
    except (OSError, ValueError) as exc:
        hint = f"say with --admin or {ADDRESS_VARIABLE} where the balancer is"
        raise Failed(f"./{FILE}: {printable(exc)}; {hint}", Code.MISUSED) from exc
    return table if isinstance(table, dict) else {}


def _parsed(text: str, source: str) -> tuple[str, str | None]:
    """The URL, and the path of a Unix socket or None; `source` names in messages where the text is from."""
    if text.startswith("unix:") and text[5:]:
        return "http://localhost", text[5:].partition("?")[0]
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


def _listening(text: str) -> Where:
    """Where a balancer with this `admin.listen` is reached. What cannot be listened on is refused."""
    from lb.settings.listen_address import FdAddress, parse_address

    try:
        address = parse_address(text)
    except ValueError:
        address = FdAddress(0)
    if isinstance(address, FdAddress):
        raise Failed(f"{FILE}: {printable(text)!r} names no balancer; {EXPECTED}", Code.MISUSED)
    return Where(*_parsed(text, FILE))


def _token_for(
    where: Where, table: Mapping[str, Any], file: Path | None, environ: Mapping[str, str]
) -> str | None:
    """The token for an address that ./lb.toml names, or the default one: the operator's, or the file's.

    A folder that somebody else has filled must not get a secret: neither the operator's token, nor a file of
    theirs that its lb.toml calls a token.
    """
    token = _operators_token(file, environ)
    if token is not None and _is_loopback(where):
        return token
    if (named := table.get("token_file")) and (token is None or not _is_loopback(where)):
        if not _is_here(where):
            hint = f"name it with --admin or {ADDRESS_VARIABLE}, and the token with --token-file"
            raise Failed(f"./{FILE} names {where}, which is another machine; {hint}", Code.MISUSED)
        return _sendable(_read(Path(str(named))), printable(named))
    if token is not None:
        hint = f"if it is meant for it, name it with --admin or {ADDRESS_VARIABLE}"
        raise Failed(f"./{FILE} names {where}, to which your token is not sent; {hint}", Code.MISUSED)
    return None


def _operators_token(file: Path | None, environ: Mapping[str, str]) -> str | None:
    if file is not None:
        return _sendable(_read(file), printable(file))
    if environ.get(TOKEN_VARIABLE):
        return _sendable(environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE)
    return None


def _is_loopback(where: Where) -> bool:
    """Whether only this machine can be meant. A name is, if at all, by what it is, and not by a lookup."""
    host = urlsplit(where.url).hostname or ""
    try:
        return where.socket is not None or ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_here(where: Where) -> bool:
    """Whether it is an address of this machine: such a one can be bound."""
    if _is_loopback(where):
        return True
    host = urlsplit(where.url).hostname or ""
    try:
        family = socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
    except (OSError, ValueError):
        return False
    return True


def _read(file: Path) -> str:
    """The text of a token file. A pipe, as of `<(pass show lb)`, is read too."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if stat.S_ISREG(mode) and (why := secret_file.objection(printable(file), mode)) is not None:
                raise Failed(f"the token: {printable(file)} {why}", Code.MISUSED)
            token = opened.read(secret_file.LONGEST).removeprefix(BOM_UTF8)
            return token.decode("ascii", "replace").strip()
    except OSError as exc:
        why = f"{printable(file)} cannot be read: {exc.strerror}"
        raise Failed(f"the token: {why}; --token-file names another one", Code.MISUSED) from exc


def _sendable(token: str, where: str) -> str:
    if not is_sendable(token):
        raise Failed(f"{where}: expected a token, one word of visible ASCII characters", Code.MISUSED)
    return token
