"""Who is asked: the server of a URL, and with which certificates."""

import re
from urllib.parse import SplitResult, urlsplit

import msgspec

from lb.settings.backend_spec import HOST, LONGEST_PATH

PORTS = {"http": 80, "https": 443}
TARGET = re.compile(r"/[!-~]*")
EXPECTED = "http://host:port, https://host:port or unix:/path"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server to ask. `host` is a name, an IP address, or the path of a Unix socket, which has port 0.

    For TLS: `ca` is the file of the authorities, the system's store where it is None; `chain` and `key` are
    the files of our certificate; `name` is whom the certificate has to be for, the host where it is None. The
    files are read for each connection, so that renewed ones are used.
    """

    host: str
    port: int
    is_tls: bool = False
    ca: str | None = None
    chain: str | None = None
    key: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        """How people call it, and a configuration does."""
        if self.host.startswith("/"):
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"

    @property
    def authority(self) -> str:
        """What Host says: no path, no zone of an address, and no port that goes without saying."""
        if self.host.startswith("/"):
            return "localhost"
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"


def server_of(
    url: str,
    *,
    ca: str | None = None,
    chain: str | None = None,
    key: str | None = None,
    name: str | None = None,
) -> tuple[Server, str]:
    """The server of a URL, and the target that the URL names on it: "/" where it names none.

    ValueError says what is wrong; it does not repeat a URL that has a password in it.
    """
    if url[:5].lower() == "unix:":
        return Server(host=_socket_path(url), port=0), "/"
    parts, port = _parts(url)
    host = (parts.hostname or "").replace("%25", "%")
    if not HOST.fullmatch(host.partition("%")[0]) or port == 0:
        raise ValueError(f"{url!r} names no host with a port: expected {EXPECTED}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not TARGET.fullmatch(target) or parts.fragment:
        raise ValueError(f"{url!r} has a path that cannot be asked for")
    is_tls = parts.scheme == "https"
    server = Server(
        host=host,
        port=port or PORTS[parts.scheme],
        is_tls=is_tls,
        ca=ca,
        chain=chain,
        key=key,
        name=name,
    )
    return server, target


def _parts(url: str) -> tuple[SplitResult, int | None]:
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("a URL with a user or a password in it is not taken: they would show in logs")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"{url!r}: {exc}") from None
    if parts.scheme not in PORTS:
        raise ValueError(f"{url!r}: expected {EXPECTED}")
    return parts, port


def _socket_path(url: str) -> str:
    path = url[5:]
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(f"{url!r}: expected the whole path of a socket, such as unix:/run/docker.sock")
    if len(path.encode()) > LONGEST_PATH:
        raise ValueError(f"{url!r}: the path of a socket has at most {LONGEST_PATH} bytes")
    return path
