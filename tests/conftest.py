"""What all tests share: asserts in the kit that explain themselves, and the mark of tests on virtual time."""

import pytest

pytest.register_assert_rewrite("tests.kit")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: it runs on a clock that jumps when nobody can move")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Behind pytest-trio's own marks, and before them in rank."""
    from tests.kit.time import run_on_virtual_time

    for item in items:
        if item.get_closest_marker("virtual_time") is not None:
            item.add_marker(pytest.mark.trio(run=run_on_virtual_time), append=False)
