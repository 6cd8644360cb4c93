"""What Consul says of a service, in the shapes of its documented API: blocking queries and all."""

import trio

from tests.kit.backend import Peer
from tests.kit.scripted import Asked, ScriptedServer, in_json


def instance(
    node: str,
    *checks: tuple[str, str],
    id: str = "web",
    address: str = "",
    port: int = 8000,
    weights: tuple[int, int] | None = (1, 1),
    meta: dict[str, str] | None = None,
) -> dict[str, object]:
    service: dict[str, object] = {
        "ID": id,
        "Service": "web",
        "Tags": ["primary"],
        "Address": address,
        "TaggedAddresses": {"lan": {"address": address, "port": port}},
        "Meta": meta,
        "Port": port,
        "EnableTagOverride": False,
        "Proxy": {"Mode": "", "MeshGateway": {}},
        "CreateIndex": 7,
        "ModifyIndex": 7,
    }
    if weights is not None:
        service["Weights"] = {"Passing": weights[0], "Warning": weights[1]}
    return {
        "Node": {
            "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
            "Node": node,
            "Address": f"10.0.0.{node[-1]}",
            "Datacenter": "dc1",
            "TaggedAddresses": {"lan": "10.0.0.1"},
            "Meta": {"consul-network-segment": ""},
        },
        "Service": service,
        "Checks": [
            {"Node": node, "CheckID": check, "Name": check, "Status": status, "ServiceID": id, "Output": ""}
            for check, status in checks or (("serfHealth", "passing"), ("service:web", "passing"))
        ],
    }


class ScriptedConsul(ScriptedServer):
    """`instances` of web. `changes` tells those who wait. `fields` go with each answer."""

    def __init__(self, *instances: dict[str, object]) -> None:
        super().__init__()
        self.instances = list(instances)
        self.index = 10
        self.fields: list[str] = ["X-Consul-KnownLeader: true", "X-Consul-LastContact: 0"]
        self._changed = trio.Event()

    async def answer(self, asked: Asked, peer: Peer) -> None:
        assert asked.path == "/v1/health/service/web"
        index = int(asked.query["index"])
        wait = float(asked.query["wait"].removesuffix("s"))
        with trio.move_on_after(wait * 17 / 16):
            while index == self.index:
                await self._changed.wait()
        await peer.says(in_json(self.instances, *self.fields, f"X-Consul-Index: {self.index}"))

    def changes(self, *instances: dict[str, object], index: int | None = None) -> None:
        self.instances = list(instances)
        self.index = self.index + 1 if index is None else index
        changed, self._changed = self._changed, trio.Event()
        changed.set()
