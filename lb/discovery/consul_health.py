"""What Consul's health API says of the instances of a service, and what follows for a pool. It is pure.

Maintenance, which is a critical check with a name of its own, is leaving: somebody has asked for it. Another
critical check is not ready. An instance with a warning is used with its weight for that, which is that of all
checks being well unless the service says another.

The id is that of node and service, since the second one is unique on its node only.
"""

from collections.abc import Generator

import msgspec

from lb.core.announced import Announced, Announcement, Notice
from lb.discovery.collected import Collected, usable_id

NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance:"


class Node(msgspec.Struct, frozen=True, rename="pascal"):
    node: str
    address: str = ""


class Weights(msgspec.Struct, frozen=True, rename="pascal"):
    passing: int = 1
    warning: int = 1


class Service(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(name="ID")
    address: str = ""
    port: int = 0
    weights: Weights | None = None
    meta: dict[str, str] | None = None


class Check(msgspec.Struct, frozen=True, rename="pascal"):
    check_id: str = msgspec.field(default="", name="CheckID")
    status: str = ""

    @property
    def is_maintenance(self) -> bool:
        return self.check_id == NODE_MAINTENANCE or self.check_id.startswith(SERVICE_MAINTENANCE)


class Instance(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of `GET /v1/health/service/{name}`."""

    node: Node
    service: Service
    checks: list[Check] | None = None

    @property
    def notice(self) -> Notice:
        critical = [check for check in self.checks or () if check.status not in ("passing", "warning")]
        if any(check.is_maintenance for check in critical):
            return Notice.LEAVING
        return Notice.NOT_READY if critical else Notice.HERE

    @property
    def weight(self) -> int | None:
        """None where the service says none."""
        weights = self.service.weights
        if weights is None:
            return None
        warns = any(check.status == "warning" for check in self.checks or ())
        return weights.warning if warns else weights.passing


_list = msgspec.json.Decoder(list[msgspec.Raw])
_instance = msgspec.json.Decoder(Instance)


def reading(data: bytes) -> Generator[None, None, Announced]:
    """Read a list of instances, in slices. msgspec.DecodeError where it is none."""
    collected = Collected()
    for raw in _list.decode(data):
        _add(_instance.decode(raw), collected)
        yield
    return collected.set()


def _add(instance: Instance, collected: Collected) -> None:
    node, service = instance.node, instance.service
    name = f"{node.node}.{service.id}"
    address = service.address or node.address
    host = f"[{address}]" if ":" in address else address
    if not service.port:
        collected.skip(f"{name}: it has no port")
        return
    said = Announcement(
        id=usable_id(name),
        url=f"http://{host}:{service.port}",
        weight=instance.weight,
        labels={"node": node.node} | (service.meta or {}),
        notice=instance.notice,
    )
    collected.add(said, name)
