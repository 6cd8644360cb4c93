"""TLS with a balancer's admin address: whom to believe, and which certificate to show.

The files are named by flags or variables, which are the operator's own words; ./lb.toml has no say in it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable

if TYPE_CHECKING:
    import ssl

CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE = "LB_ADMIN_CA", "LB_ADMIN_CERT", "LB_ADMIN_KEY"
FLAGS = {"--ca": CA_VARIABLE, "--cert": CERT_VARIABLE, "--key": KEY_VARIABLE}


class Files(NamedTuple):
    """Authorities, our chain, and its key where the chain's file does not have it; as flags name them."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def context_for(url: str, files: Files, environ: Mapping[str, str] = os.environ) -> "ssl.SSLContext | None":
    """The context for this URL; None where it is plain. It blocks.

    Failed (misused) for a file that cannot be used, and for a flag where nothing is encrypted.
    """
    flags = {"--ca": files.ca, "--cert": files.cert, "--key": files.key}
    if not url.startswith("https://"):
        if flag := next((name for name, path in flags.items() if path is not None), None):
            raise Failed(f"{flag} goes with https://, and {printable(url)} is plain HTTP", Code.MISUSED)
        return None
    named = {flag: path or _named(environ, FLAGS[flag]) for flag, path in flags.items()}
    ca, cert, key = named.values()
    if key is not None and cert is None:
        raise Failed(f"--key goes with --cert, or with {CERT_VARIABLE}", Code.MISUSED)
    authorities = None if ca is None else _read("--ca", ca).decode("ascii", "backslashreplace")
    own = None if cert is None else _read("--cert", cert) + (b"" if key is None else _read("--key", key))
    from lb.tls.contexts import backend_context

    try:
        return backend_context(authorities, own)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        files_ = " and ".join(printable(path) for path in (ca, cert, key) if path is not None)
        why = getattr(exc, "reason", None) or exc
        raise Failed(f"TLS: OpenSSL does not take {files_}: {printable(why)}", Code.MISUSED) from exc


def _named(environ: Mapping[str, str], variable: str) -> Path | None:
    text = environ.get(variable)
    return Path(text) if text else None


def _read(flag: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        why = f"{printable(file)} cannot be read: {exc.strerror}"
        raise Failed(f"{flag}: {why}; {FLAGS[flag]} can name it too", Code.MISUSED) from exc
