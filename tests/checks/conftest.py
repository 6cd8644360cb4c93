"""The house that all examples of a module are played in, and the fixtures of the operator's side."""

from collections.abc import Iterator

import pytest

from tests.admin.conftest import add, api, control, hold, saves, serve
from tests.checks.house import House, opened

__all__ = ["add", "api", "control", "hold", "house", "saves", "serve"]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with opened() as house:
        yield house
