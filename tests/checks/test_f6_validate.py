"""A body for /config/validate, which a token of scope `read` may send, does not hold the event loop."""

from typing import Any

import pytest

from lb.control import Control
from tests.admin.kit import Api
from tests.checks.test_f6_whatif import HELD_SECONDS, longest

BODIES: dict[str, Any] = {
    "pools": {"pools": {f"p{number}": {} for number in range(4000)}},
    "backends": {
        "pools": {"default": {"backends": [{"url": f"http://10.0.0.1:{port}"} for port in range(1, 1500)]}}
    },
    "backends elsewhere": {
        "pools": {f"p{port}": {"backends": [{"url": f"http://10.0.0.1:{port}"}]} for port in range(1, 1200)}
    },
    "listeners": {"listen": [f":{port}" for port in range(1, 6000)]},
    "unknown keys": {f"a{number}": 1 for number in range(6000)},
    "wrong values": {"pools": {f"p{number}": 0 for number in range(4000)}},
}


@pytest.mark.alone
@pytest.mark.parametrize("body", BODIES)
async def test_what_a_reload_would_change_is_told_in_slices(api: Api, control: Control, body: str) -> None:
    assert await longest(api, "POST", "/config/validate", BODIES[body]) < HELD_SECONDS
