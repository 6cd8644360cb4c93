"""/backends/{id}/history: five minutes of one backend."""

from lb.control import Control
from lb.core.measures.rates import STEP
from tests.admin.kit import Add, Api, Hold
from tests.admin.resources.test_stats import attempts, second


async def test_each_step_has_its_numbers(api: Api, add: Add, hold: Hold, control: Control) -> None:
    busy, quiet = add("web1"), add("web2")
    for at in range(2 * STEP + 1):
        if at == STEP:
            attempts(busy, 15)
            attempts(busy, 5, 500)
            hold(busy)
        second(control, at)
    shown = (await api("GET", "/backends/web1/history")).json
    assert shown["step_seconds"] == STEP
    assert shown["requests_per_second"] == [4.0, 0.0]
    assert shown["share_failing"] == [0.25, 0.0]
    assert shown["in_flight"] == [1, 1]
    latency, unknown = shown["p99_seconds"]
    assert 0 < latency < 0.1
    assert unknown is None
    assert (await api("GET", f"/backends/{quiet.id}/history")).json["requests_per_second"] == [0.0, 0.0]


async def test_one_that_came_again_begins_anew(api: Api, add: Add, control: Control) -> None:
    control.registry.remove(add("web1"))
    assert (await api("GET", "/backends/web1/history")).status == 404
    add("web1")
    assert (await api("GET", "/backends/web1/history")).json["in_flight"] == []
