"""/healthz and /readyz."""

from lb.control import Control
from tests.admin.kit import Add, Api, Hold


async def test_healthz_and_readyz(api: Api, add: Add, hold: Hold, control: Control) -> None:
    assert (await api("GET", "/healthz")).json == {"healthy": True}
    add("web1", max_in_flight=1)
    assert (await api("GET", "/readyz")).json == {"ready": True, "reasons": []}
    hold(control.registry.backend("web1"))
    assert (await api("GET", "/readyz")).status == 200  # full is load, not absence
    add("web0", weight=0)
    await api("POST", "/backends/web1/drain")
    control.registry.add_pool("empty")
    control.stopping = True
    control.listening.clear()
    answer = await api("GET", "/readyz")
    assert (answer.status, answer.json["ready"]) == (503, False)
    assert answer.json["reasons"] == [
        "stopping",
        "not listening",
        "pool default has no available backend",  # and nothing about the empty one, which nobody filled
    ]
    assert (await api("GET", "/healthz")).status == 200
