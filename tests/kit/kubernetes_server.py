"""What the API server of Kubernetes says of EndpointSlices, in the shapes of its documented API."""

from collections.abc import Sequence

import msgspec

from tests.kit.backend import Peer
from tests.kit.scripted import Asked, ScriptedServer, chunk, in_json

PATH = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


def endpoint(
    pod: str | None,
    *addresses: str,
    ready: bool | None = True,
    serving: bool | None = None,
    terminating: bool | None = None,
    uid: str = "",
) -> dict[str, object]:
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    said: dict[str, object] = {
        "addresses": list(addresses),
        "conditions": {name: value for name, value in conditions.items() if value is not None},
        "nodeName": "node-1",
        "zone": "eu-1",
    }
    if pod is not None:
        ref = {"kind": "Pod", "namespace": "shop", "name": pod, "uid": uid or f"uid-of-{pod}"}
        said["targetRef"] = ref
    return said


def a_slice(
    name: str,
    *endpoints: dict[str, object],
    version: int = 1,
    family: str = "IPv4",
    ports: Sequence[tuple[str, int]] | None = (("http", 8000),),
) -> dict[str, object]:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-of-{name}",
            "resourceVersion": str(version),
            "labels": {"kubernetes.io/service-name": "web"},
            "managedFields": [{"manager": "kube-controller-manager"}],
        },
        "addressType": family,
        "endpoints": list(endpoints) or None,
        "ports": None if ports is None else [{"name": n, "port": p, "protocol": "TCP"} for n, p in ports],
    }


class ScriptedKubernetes(ScriptedServer):
    """`slices` by name. `changes` changes one, and tells it on the watch."""

    def __init__(self, *slices: dict[str, object]) -> None:
        super().__init__()
        self.version = 100
        self.slices = {self._name(each): each for each in slices}
        self.page = 500
        self.expired_pages = 0
        self.lists = 0
        self.instead_of_watch = b""
        self._history: list[tuple[int, object]] = []

    @staticmethod
    def _name(each: dict[str, object]) -> str:
        metadata = each["metadata"]
        assert isinstance(metadata, dict)
        return str(metadata["name"])

    async def answer(self, asked: Asked, peer: Peer) -> None:
        assert asked.path == PATH
        assert asked.query["labelSelector"] == "kubernetes.io/service-name=web"
        if asked.query.get("watch") == "1":
            await self._watch(int(asked.query["resourceVersion"]), peer)
            return
        self.lists += "continue" not in asked.query
        first = int(asked.query.get("continue", "0"))
        if first and self.expired_pages:
            self.expired_pages -= 1
            await peer.says(in_json(status(410, "Expired"), status="410 Gone"))
            return
        last = first + min(self.page, int(asked.query.get("limit", "999999")))
        names = sorted(self.slices)
        metadata = {"resourceVersion": str(self.version), "continue": str(last) if last < len(names) else ""}
        items = [self.slices[name] for name in names[first:last]]
        await peer.says(in_json({"kind": "EndpointSliceList", "metadata": metadata, "items": items}))

    async def _watch(self, since: int, peer: Peer) -> None:
        if self.instead_of_watch:
            await peer.says(self.instead_of_watch)
            return
        await self.opens_stream(peer)
        for version, line in self._history:
            if version > since:
                await peer.says(chunk(msgspec.json.encode(line) + b"\n"))

    async def changes(self, each: dict[str, object], type: str = "MODIFIED", cut: int = 0) -> None:
        self.version += 1
        if type == "DELETED":
            del self.slices[self._name(each)]
        else:
            self.slices[self._name(each)] = each
        line = {"type": type, "object": each}
        self._history.append((self.version, line))
        await self.says_line(line, cut)

    async def bookmarks(self) -> None:
        self.version += 1
        metadata = {"resourceVersion": str(self.version)}
        await self.says_line({"type": "BOOKMARK", "object": {"kind": "EndpointSlice", "metadata": metadata}})

    async def says_error(self, code: int, reason: str) -> None:
        await self.until_open()
        await self.says_line({"type": "ERROR", "object": status(code, reason)})


def status(code: int, reason: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version: 1 (100)",
        "reason": reason,
        "code": code,
    }
