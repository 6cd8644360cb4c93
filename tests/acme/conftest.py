from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.acme.world import World

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A year on virtual time has thousands of writes, and a disk takes milliseconds for each."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield World(Path(folder) / "acme")
