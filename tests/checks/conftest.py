"""The house that all examples of a module are played in."""

from collections.abc import Iterator

import pytest

from tests.checks.house import House, opened


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with opened() as house:
        yield house
