"""Certificates beside those that the settings name: they are ordered (`lb.acme`), and served as those are.

Each has a path, by which messages name it, and what is to be in that file. It is judged when it comes: one
that cannot be used would be in the way of all others.
"""

from collections.abc import Collection, Mapping

import msgspec

from lb.errors import ConfigError
from lb.settings.tls_settings import CertificateFiles, TlsSettings
from lb.tls.certificate import load_certificate
from lb.tls.contexts import server_context, show
from lb.tls.pem_files import PemFile

OURS_ALONE = 0o600


class Ordered:
    """What is to be served beside the files of the settings, from the next swap on."""

    def __init__(self) -> None:
        self._files: dict[str, PemFile] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def put(self, path: str, data: bytes) -> bool:
        """Have this chain and key, in place of what the path had; False where they are the same.

        ConfigError where they cannot be used, and then what was there stays.
        """
        file = PemFile(path, data, OURS_ALONE)
        if self._files.get(path) == file:
            return False
        loaded = load_certificate(path, None, lambda _path: file)
        try:
            show(server_context(), loaded.pem)
        except OSError as exc:  # ssl.SSLError is one
            raise ConfigError(f"{path}: OpenSSL does not take it: {exc}") from exc
        self._files[path] = file
        return True

    def keep(self, paths: Collection[str]) -> bool:
        """Forget all that have other paths; whether there were any."""
        others = [path for path in self._files if path not in paths]
        for path in others:
            del self._files[path]
        return bool(others)

    def added_to(self, settings: TlsSettings) -> tuple[TlsSettings, Mapping[str, PemFile]]:
        """The settings with what is here now, and that by its paths. Any thread may ask."""
        files = self._files.copy()
        named = {each.chain for each in settings.certificates}
        ours = (CertificateFiles(chain=path) for path in files if path not in named)
        both = msgspec.structs.replace(settings, certificates=(*settings.certificates, *ours))
        return both, files
