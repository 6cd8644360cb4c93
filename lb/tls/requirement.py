"""The package that certificates are read with. Nobody needs it who has no TLS."""

from importlib.util import find_spec

from lb.errors import ConfigError

PACKAGE = "cryptography"


def check_installed(key: str) -> None:
    """ConfigError, for the key that asks for TLS, where the package is missing."""
    if find_spec(PACKAGE) is None:
        raise ConfigError(f"{key}: TLS needs the package {PACKAGE}: pip install 'trio-lb[tls]'")
