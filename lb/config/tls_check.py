"""What `lb config check` says of TLS: every file is opened, and the hosts of routes are held against names.

`lb.tls` is imported where TLS is configured only.
"""

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lb.config.decode import join
from lb.errors import ConfigError
from lb.settings.acme_settings import AcmeSettings, is_certifiable, wanted_names
from lb.settings.backend_spec import is_tls
from lb.settings.balancer_settings import AdminConfig, Config, PoolConfig, speaks_tls
from lb.settings.listen_address import is_loopback, parse_address
from lb.settings.pool_settings import BackendTls
from lb.settings.tls_settings import TlsSettings

if TYPE_CHECKING:
    from lb.tls.table import Table
    from lb.tls.to_backends import ToBackends

BY_OTHERS = stat.S_IWGRP | stat.S_IRWXO
MOST_HOSTS = 20
"""So many hosts without a certificate are named."""


def listens_with_tls(config: Config) -> bool:
    return any(parse_address(text).is_tls for text in config.listen)


def serves_tls(config: Config) -> bool:
    """Whether clients come over TLS, or operators do."""
    return listens_with_tls(config) or speaks_tls(config.admin)


def check_backend_files(config: Config) -> None:
    """ConfigError, with every key and file, where a file of TLS with backends cannot be used. It blocks."""
    mistakes = []
    for name, pool in config.pools.items():
        if any(is_tls(backend.url) for backend in pool.backends):
            try:
                _to_backends(f"{join('pools', name)}.tls", pool.tls)
            except ConfigError as exc:
                mistakes.append(str(exc))
    if mistakes:
        raise ConfigError("\n  ".join(mistakes), mistakes)


def _to_backends(key: str, settings: BackendTls) -> "ToBackends":
    from lb.tls.requirement import check_installed

    check_installed(key)
    from lb.tls.to_backends import to_backends

    try:
        return to_backends(settings)
    except (ConfigError, OSError) as exc:  # we may lack descriptors
        raise ConfigError(f"{key}.{exc}") from exc


def tls_notes(config: Config, now: float) -> Iterator[str]:
    """A note for all that works but not as it might, or soon will not. It blocks.

    ConfigError, which names key and file, for what would keep the program from starting.
    """
    if config.tls != TlsSettings():
        if not serves_tls(config):
            yield "tls: no listener begins with https://, so this is used by none"
        yield from _with_clients(config, now, listens_with_tls(config))
    yield from admin_notes(config.admin)
    for name, pool in config.pools.items():
        has_tls = any(is_tls(backend.url) for backend in pool.backends)
        if has_tls or pool.tls != BackendTls():
            yield from _with_backends(f"{join('pools', name)}.tls", pool, has_tls, now)


def admin_notes(admin: AdminConfig) -> Iterator[str]:
    """A note where the secrets of operators can be read on their way."""
    if admin.enabled and not speaks_tls(admin) and not is_loopback(parse_address(admin.listen)):
        yield f"admin.listen: tokens come to {admin.listen} unencrypted; https:// before it is TLS"


def _with_clients(config: Config, now: float, is_listening: bool) -> Iterator[str]:
    from lb.tls.requirement import check_installed

    check_installed("tls")
    from lb.tls.certificates import Certificates
    from lb.tls.draft import OfAdmin

    admin = OfAdmin(config.admin.client_ca) if speaks_tls(config.admin) else None
    plan = Certificates(admin=admin).prepare(config.tls, now)
    yield from plan.warnings
    if config.tls.acme is not None:
        if not is_listening:
            yield "tls.acme: no address in `listen` begins with https://, so no certificate is ordered"
        yield from _with_acme(config, config.tls.acme)
    if is_listening:
        yield from _without_certificate(config, plan.table)


def _with_acme(config: Config, acme: AcmeSettings) -> Iterator[str]:
    """ConfigError where the storage cannot be used. That the program makes it is told by the start only."""
    if (trouble := _storage_trouble(Path(acme.storage))) is not None:
        raise ConfigError(f"tls.acme.storage: {trouble}")
    if not wanted_names(acme, (route.host for route in config.routes)):
        yield "tls.acme.names: no route has a host that can have a certificate, so none is ordered"
    has_plain = any(not parse_address(text).is_tls for text in config.listen)
    if acme.challenge == "http-01" and not has_plain:
        yield (
            "tls.acme.challenge: http-01 is answered by plain listeners, such as :80, and there is none; "
            "tls-alpn-01 needs none"
        )


def _storage_trouble(folder: Path) -> str | None:
    """Why the folder, or the one in which it is to be made, cannot be used."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not there.is_dir():
        return f"{there} is not a folder"
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return f"{there} cannot be written"
    if there == folder and folder.stat().st_mode & BY_OTHERS:
        return f"{folder} can be read or changed by others: chmod 700 {folder}"
    return None


def _without_certificate(config: Config, table: "Table") -> Iterator[str]:
    """A note for each host that has a route and no certificate."""
    above = {name.split(".", at)[-1] for name in table.names for at in range(1, name.count(".") + 1)}
    hosts = dict.fromkeys(route.host for route in config.routes if route.host is not None)
    bare = [host for host in hosts if table.named(host) is None and not _is_ordered(host, config)]
    bare = [host for host in bare if not host.startswith("*.") or host.removeprefix("*.") not in above]
    for host in islice(bare, MOST_HOSTS):
        yield f"routes: {host} has a route and no certificate"
    if len(bare) > MOST_HOSTS:
        yield f"routes: {len(bare) - MOST_HOSTS} more hosts have a route and no certificate"


def _is_ordered(host: str, config: Config) -> bool:
    return is_certifiable(host) and config.tls.is_ordered(host)


def _with_backends(key: str, pool: PoolConfig, has_tls: bool, now: float) -> Iterator[str]:
    if not has_tls:
        yield f"{key}: no backend of this pool has a URL that begins with https"
    ours = _to_backends(key, pool.tls)
    if has_tls and not pool.tls.verify:
        yield f"{key}.verify: false: whoever answers at a backend's address is taken for it"
    yield from (f"{key}: {note}" for note in ours.warnings(now))
