"""What a Docker Engine says of its containers, in the shapes of its documented API (1.43, and 1.52 on)."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from tests.kit.backend import Peer
from tests.kit.scripted import Asked, ScriptedServer, chunk, in_json

EPOCH = 1_700_000_000


@dataclass
class Box:
    """A container that runs."""

    name: str
    address: str = "172.18.0.2"
    labels: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = (8000,)
    networks: dict[str, dict[str, str]] = field(default_factory=dict)
    health: str = "none"
    state: str = "running"
    stop_signal: str = ""
    is_new_api: bool = True

    @property
    def id(self) -> str:
        return sha256(self.name.encode()).hexdigest()

    def listed(self) -> dict[str, object]:
        """Its entry in `GET /containers/json`."""
        texts = {"none": "", "starting": " (health: starting)"}
        entry: dict[str, object] = {
            "Id": self.id,
            "Names": [f"/db/{self.name}", f"/{self.name}"],
            "Image": "web:1",
            "ImageID": "sha256:72297848456d5d37d1262630108ab308d3e9ec7ed1c3286a32fe09856619a782",
            "Command": "python app.py",
            "Created": EPOCH,
            "Ports": [{"PrivatePort": port, "Type": "tcp"} for port in self.ports]
            + [{"IP": "0.0.0.0", "PrivatePort": port, "PublicPort": 80, "Type": "tcp"} for port in self.ports]
            + [{"PrivatePort": 53, "Type": "udp"}],
            "Labels": {"com.docker.compose.service": "web"} | self.labels,
            "State": self.state,
            "Status": f"Up 2 minutes{texts.get(self.health, f' ({self.health})')}",
            "HostConfig": {"NetworkMode": "app_default"},
            "NetworkSettings": {
                "Networks": self.networks or {"app_default": network(self.address)},
            },
            "Mounts": [],
        }
        if self.is_new_api:
            entry["Health"] = {"Status": self.health, "FailingStreak": 0}
        return entry


def network(address: str, v6: str = "") -> dict[str, str]:
    return {"NetworkID": "7ea29fc14122", "IPAddress": address, "GlobalIPv6Address": v6, "MacAddress": ""}


class ScriptedDocker(ScriptedServer):
    """`boxes` by name. `tells` is an event on every open stream, and is replayed to those that ask since."""

    def __init__(self, *boxes: Box, path: Path | None = None) -> None:
        super().__init__(path)
        self.boxes = {box.name: box for box in boxes}
        self.events: list[dict[str, object]] = []
        self.lists = 0

    async def answer(self, asked: Asked, peer: Peer) -> None:
        filters = msgspec.json.decode(asked.query.get("filters", "{}"))
        if asked.path == "/events":
            assert filters["type"] == ["container"]
            await self.opens_stream(peer)
            for event in self.events:
                if int(str(event["time"])) >= int(asked.query["since"]):
                    await peer.says(chunk(msgspec.json.encode(event) + b"\n"))
        elif asked.path == "/containers/json":
            self.lists += 1
            (wanted,) = filters["label"]
            name, _, value = wanted.partition("=")
            boxes = [box.listed() for box in self.boxes.values() if box.labels.get(name) == value]
            await peer.says(in_json(boxes))
        else:
            box = next(box for box in self.boxes.values() if asked.path == f"/containers/{box.id}/json")
            await peer.says(in_json({"Id": box.id, "Config": {"StopSignal": box.stop_signal}}))

    async def tells(self, action: str, box: Box, cut: int = 0, **attributes: str) -> None:
        nanos = EPOCH * 10**9 + len(self.events) + 1
        self.events.append(
            {
                "Type": "container",
                "Action": action,
                "Actor": {
                    "ID": box.id,
                    "Attributes": {"image": "web:1", "name": box.name} | box.labels | attributes,
                },
                "scope": "local",
                "time": EPOCH,
                "timeNano": nanos,
            }
        )
        await self.says_line(self.events[-1], cut)
