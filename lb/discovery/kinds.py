"""The sources there are, by the word of their setting. Each is imported when one of its kind is made.

A constructor raises ValueError for what cannot be a source of its kind.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lb.config.decode import join
from lb.discovery.backend_source import Source
from lb.errors import ConfigError
from lb.settings.balancer_settings import PoolConfig
from lb.settings.discover_settings import Discover


def _dns(settings: Discover, _pool: str) -> Source:
    from lb.discovery.dns import DnsSource

    return DnsSource(
        settings.where,
        resolvers=settings.resolvers,
        tcp=settings.tcp,
        ipv6=settings.ipv6,
        weights=settings.weights,
        every=settings.every,
        least=settings.least,
        most=settings.most,
    )


def _files(settings: Discover, _pool: str) -> Source:
    from lb.discovery.files import FilesSource

    return FilesSource(settings.where, **_every(settings))


def _http(settings: Discover, _pool: str) -> Source:
    from lb.discovery.http_lists import HttpSource

    return HttpSource(settings.where, token_file=settings.token_file, **_every(settings), **_tls(settings))


def _docker(settings: Discover, pool: str) -> Source:
    from lb.discovery.docker import DockerSource

    return DockerSource(settings.where, pool=pool, **_tls(settings))


def _etcd(settings: Discover, _pool: str) -> Source:
    from lb.discovery.etcd_source import EtcdSource

    return EtcdSource(
        settings.where, user=settings.user, password_file=settings.password_file, **_tls(settings)
    )


def _kubernetes(settings: Discover, _pool: str) -> Source:
    from lb.discovery.kubernetes import KubernetesSource

    return KubernetesSource(
        settings.where, api=settings.api, token_file=settings.token_file, **_tls(settings)
    )


def _consul(settings: Discover, _pool: str) -> Source:
    from lb.discovery.consul import ConsulSource

    return ConsulSource(settings.where, token_file=settings.token_file, **_tls(settings))


KINDS: dict[str, Callable[[Discover, str], Source]] = {
    "dns": _dns,
    "files": _files,
    "http": _http,
    "docker": _docker,
    "etcd": _etcd,
    "kubernetes": _kubernetes,
    "consul": _consul,
}


def make(settings: Discover, pool: str) -> Source:
    """The source of these settings for this pool; ConfigError that names the key where it cannot be made."""
    try:
        return KINDS[settings.kind](settings, pool)
    except (ValueError, ModuleNotFoundError) as exc:
        raise ConfigError(f"{settings.kind}: {exc}") from exc


def check(pools: Mapping[str, PoolConfig]) -> None:
    """ConfigError, which names the key, for the first source of these pools that cannot be made."""
    for name, pool in pools.items():
        for index, settings in enumerate(pool.discover):
            try:
                make(settings, name)
            except ConfigError as exc:
                raise ConfigError(f"{join('pools', name)}.discover[{index}].{exc}") from exc


def _every(settings: Discover) -> dict[str, Any]:
    return {} if settings.every is None else {"every": settings.every}


def _tls(settings: Discover) -> dict[str, Any]:
    return {"ca": settings.ca, "chain": settings.chain, "key": settings.key}
