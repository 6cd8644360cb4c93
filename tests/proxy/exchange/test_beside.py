"""One function beside another: which one ends the other, and what is raised."""

import pytest
import trio

from lb.errors import BadRequest, ClientGone
from lb.proxy.exchange.beside import beside
from tests.kit import lasting, virtual_time

pytestmark = virtual_time


async def forever() -> None:
    await trio.sleep_forever()


async def at_once() -> None:
    await trio.lowlevel.checkpoint()


async def result_after_1_s() -> str:
    await trio.sleep(1)
    return "result"


async def test_when_main_ends_the_helper_is_cancelled() -> None:
    with lasting(1.0):
        assert await beside(result_after_1_s, forever) == "result"


async def test_a_helper_that_ends_leaves_main_be() -> None:
    with lasting(1.0):
        assert await beside(result_after_1_s, at_once) == "result"


async def test_an_error_of_the_helper_ends_main_and_is_raised_bare() -> None:
    async def helper() -> None:
        raise ClientGone("left")

    with lasting(0.0), pytest.raises(ClientGone, match="left"):
        await beside(result_after_1_s, helper)


async def test_an_error_of_main_ends_the_helper_and_is_raised_bare() -> None:
    async def main() -> str:
        raise BadRequest("no")

    with lasting(0.0), pytest.raises(BadRequest, match="no"):
        await beside(main, forever)


async def test_of_two_errors_the_first_counts() -> None:
    async def main() -> str:
        try:
            await trio.sleep_forever()
        finally:
            raise BadRequest("second")

    async def helper() -> None:
        raise ClientGone("first")

    with pytest.raises(ClientGone, match="first"):
        await beside(main, helper)


async def test_a_result_is_worth_more_than_the_end_of_its_helper() -> None:
    async def helper() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ClientGone("too late")

    assert await beside(result_after_1_s, helper) == "result"


async def test_a_cancellation_from_outside_ends_both() -> None:
    with lasting(0.5), trio.move_on_after(0.5) as scope:
        await beside(result_after_1_s, forever)
    assert scope.cancelled_caught
