"""/info."""

from lb.about import BUILD, VERSION
from lb.control import Control
from tests.admin.kit import Api


async def test_info(api: Api, control: Control) -> None:
    info = (await api("GET", "/info")).json
    assert (info["name"], info["version"], info["build"]) == ("trio-lb", VERSION, BUILD)
    assert info["started"] == "2027-01-15T08:00:00.000Z"
    assert (info["listening"], info["stopping"], info["revision"]) == (["127.0.0.1:8080"], False, 0)
    assert 0 <= info["uptime_seconds"] < 60
