"""/routes: which requests go to which pool."""

import msgspec

from admin.views.listed_routes import route_list
from lb.control import Control
from lb.settings.balancer_settings import Config, Route
from tests.admin.kit import Api

SHOP = Route(host="shop.test", path="/api", pool="api")
ALL = Route(pool="web")


async def test_routes_come_in_their_order_and_the_rest_last(api: Api, control: Control) -> None:
    rest = {"host": None, "path": "/", "pool": "default"}
    assert (await api("GET", "/routes")).json == {"items": [rest], "total": 1}
    control.config = msgspec.structs.replace(control.config, routes=(SHOP,))
    shop = {"host": "shop.test", "path": "/api", "pool": "api"}
    assert (await api("GET", "/routes")).json == {"items": [shop, rest], "total": 2}
    table = (await api("GET", "/routes?format=table")).body.decode().splitlines()
    assert [line.split() for line in table] == [
        ["HOST", "PATH", "POOL"],
        ["shop.test", "/api", "api"],
        ["*", "/", "default"],
    ]


def test_nothing_is_left_behind_a_route_that_takes_everything() -> None:
    found = route_list(Config(routes=(SHOP, ALL)), 10)
    assert (found.items, found.total) == ([SHOP, ALL], 2)


def test_what_is_not_listed_is_counted() -> None:
    found = route_list(Config(routes=(SHOP, SHOP, SHOP)), 2)
    assert (found.items, found.total) == ([SHOP, SHOP], 4)
