"""What is folded before the script runs: the same as the script folds then."""

from admin.page.folding import UNFOLDED, Fold, folds
from admin.page.row_order import by_pool
from admin.views.stats_json import described
from lb.control import Control
from lb.core.health.ejection import Cause
from tests.admin.kit import Add


async def folded(control: Control) -> Fold:
    """The fold of the default pool."""
    stats = await described(control)
    return folds(stats, by_pool(stats))["default"]


async def test_of_few_rows_none_is_folded(control: Control, add: Add) -> None:
    for number in range(14):
        add(f"web{number:02}")
    assert await folded(control) == UNFOLDED


async def test_of_many_rows_those_behind_the_first_few_are_folded_if_they_are_well(
    control: Control, add: Add
) -> None:
    for number in range(20):
        add(f"web{number:02}")
    control.registry.maintenance(control.registry.backend("web11"))
    control.registry.drain(control.registry.backend("web12"), 60)
    fold = await folded(control)
    shown = {f"web{number:02}" for number in (*range(8), 11, 12)}
    assert fold.rows == {f"web{number:02}" for number in range(20)} - shown
    assert (fold.is_line, fold.is_closed, fold.more) == (False, False, "10 more, all ready")


async def test_of_many_pools_each_is_a_line_with_those_that_are_not_well(control: Control, add: Add) -> None:
    for name in ("api", "images", "search"):
        control.registry.add_pool(name)
    for number in range(3):
        add(f"web{number}")
    fold = await folded(control)
    assert (fold.is_line, fold.is_closed, fold.more) == (True, True, "")
    control.registry.maintenance(control.registry.backend("web1"))
    assert (await folded(control)).rows == {"web0", "web1", "web2"}
    control.registry.backend("web2").outcomes.eject(Cause.CONSECUTIVE, control.registry.now(), "refused")
    fold = await folded(control)
    assert (fold.rows, fold.is_closed) == ({"web0", "web1"}, False)
