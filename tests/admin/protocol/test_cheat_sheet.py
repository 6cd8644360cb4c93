"""The cheat sheet names every operation."""

import re

from admin.application import operations
from lb.control import Control
from tests.admin.kit import Api


async def test_the_cheat_sheet_names_everything(api: Api, control: Control) -> None:
    page = (await api("GET", "/")).body.decode()
    for operation in operations(control):
        assert re.search(rf"^{operation.method} +{re.escape(operation.path)} ", page, re.MULTILINE)
    assert "curl -X DELETE 127.0.0.1:9000/backends/web4\n" in page
    assert max(map(len, page.splitlines())) <= 120
