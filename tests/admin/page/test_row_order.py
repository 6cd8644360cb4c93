"""Which rows stand above the others."""

from admin.page.row_order import by_pool
from admin.trouble_watch import TroubleWatch
from admin.views.stats_json import described
from lb.control import Control
from lb.core.health.probe_verdict import Check
from lb.settings.pool_settings import PoolSettings, Probe
from tests.admin.kit import Add


async def test_those_in_trouble_come_first_and_the_rest_as_they_were(control: Control, add: Add) -> None:
    control.registry.configure(control.registry.pools["default"], PoolSettings(probe=Probe(fall=1, rise=1)))
    added = [add(f"web{number}") for number in range(4)]
    for backend in added:
        control.registry.checked(backend, Check(backend is not added[2], "200", 0.1, control.registry.now()))
    await TroubleWatch(control).look()
    rows = by_pool(await described(control))
    assert {pool: [row.id for row in found] for pool, found in rows.items()} == {
        "default": ["web2", "web0", "web1", "web3"]
    }
