"""How a balancer comes to its etcd: endpoints, user, and the name that it has there."""

import os

import structlog

from lb.config import secret_file, whole_file
from lb.errors import ConfigError
from lb.etcd.login import Login
from lb.http_client.server_url import Server, server_of
from lb.settings.backend_spec import ID
from lb.settings.cluster_settings import ClusterSettings

log = structlog.get_logger()


def name_of(settings: ClusterSettings) -> str:
    """How the others call this balancer. ConfigError where it needs a name, and has none."""
    host = os.uname().nodename
    if not settings.name and not ID.fullmatch(host):
        raise ConfigError(f"cluster.name: the host is called {host!r}, which cannot be the name; set one")
    return settings.name or host


def endpoints(settings: ClusterSettings) -> list[Server]:
    """The endpoints; ConfigError that names the key where one cannot be. It reads no file."""
    servers = []
    for index, url in enumerate(settings.etcd):
        try:
            servers.append(server_of(url, ca=settings.ca, chain=settings.chain, key=settings.key)[0])
        except ValueError as exc:
            raise ConfigError(f"cluster.etcd[{index}]: {exc}") from exc
    return servers


class _PasswordFile:
    """The password in this file. ConfigError where it cannot be read at first."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.last = self._read()

    def now(self) -> str:
        """What the file holds now. Where it cannot be read that is told, and the last one holds."""
        try:
            self.last = self._read()
        except ConfigError as exc:
            log.warning("the password of etcd stays as it was", why=str(exc))
        return self.last

    def _read(self) -> str:
        where = f"cluster.password_file: {self._path}"
        data = secret_file.read(self._path, where)
        try:
            return data.decode().strip()
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{where} is not in UTF-8") from exc


def login(settings: ClusterSettings) -> Login:
    """Who we are to etcd. It blocks; ConfigError where the password cannot be read."""
    if settings.user is None or settings.password_file is None:
        return Login(settings.user or "")
    file = _PasswordFile(settings.password_file)
    return Login(settings.user, file.last, file.now)


def check_cache(settings: ClusterSettings) -> None:
    """ConfigError where the last wishes cannot be kept in the file. It blocks."""
    path = settings.cache
    if path is None:
        return
    if os.path.exists(path) and not os.path.isfile(path):
        raise ConfigError(f"cluster.cache: {path} is not a regular file")
    try:
        whole_file.can_be_replaced(path)
    except OSError as exc:
        raise ConfigError(f"cluster.cache: {path} cannot be written: {exc.strerror or exc}") from exc
