"""The cheat sheet names every operation."""

import re

from admin.application import create_app, operations
from lb.control import Control
from tests.admin.kit import Api


async def test_the_cheat_sheet_names_everything(api: Api, control: Control) -> None:
    page = (await api("GET", "/")).body.decode()
    for operation in operations(control):
        assert re.search(rf"^{operation.method} +{re.escape(operation.path)} ", page, re.MULTILINE)
    assert "curl -X DELETE 127.0.0.1:9000/backends/web4\n" in page
    assert max(map(len, page.splitlines())) <= 120


async def test_its_commands_say_https_where_they_have_to(control: Control) -> None:
    client = create_app(control, None).test_client()
    headers = {"Host": "127.0.0.1:9000"}
    page = await (await client.get("/", headers=headers, scheme="https")).get_data(as_text=True)
    assert "curl -X DELETE https://127.0.0.1:9000/backends/web4\n" in page
