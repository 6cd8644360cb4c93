"""What runs here: the version, from which the package has its own, and which build of it.

The modules that a request meets can be compiled by mypyc from the same sources (`pyproject.toml` lists them).
Both builds behave alike; the compiled one takes less time.
"""

from importlib.util import find_spec
from typing import Literal

Build = Literal["pure", "compiled"]


def _build() -> Build:
    found = find_spec("lb.core.pool")
    return "pure" if found is None or str(found.origin).endswith(".py") else "compiled"


VERSION = "0.1.0"
BUILD = _build()
SAID = f"trio-lb {VERSION} ({BUILD})"
"""What `lb --version` says."""
VERSION_FIELD = "Lb-Version"
"""A field with the version in every answer of the API."""
