"""Whether two balancers are configured alike: short digests, which tell nobody what is configured."""

import hashlib
from collections.abc import Callable

import msgspec

from lb.settings.balancer_settings import Config

LENGTH = 8
"""Hex digits: enough to see a difference, too few to try secrets against."""


def of_configuration(config: Config) -> str:
    """The digest of what wishes are differences of, and of what requests follow: pools and routes."""
    return _digest(msgspec.json.encode((config.pools, config.routes, config.path_policy), order="sorted"))


def of_secrets(config: Config, read: Callable[[str | None], bytes]) -> str:
    """The digest of the secrets that all have to share, "" where there is none to be shared.

    `read` gives the secret in a file.
    """
    paths = {
        pool.sticky.secret_file
        for pool in config.pools.values()
        if pool.sticky is not None and pool.sticky.secret_file is not None
    }
    if not paths:
        return ""
    return _digest(b"\0".join(sorted(hashlib.sha256(read(path)).digest() for path in paths)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:LENGTH]
