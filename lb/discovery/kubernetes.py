"""Backends that are endpoints of a Service of Kubernetes: its list of EndpointSlices, and a watch from there.

However a watch ends, the list follows: so nothing depends on a version that the server may have forgotten
(410), and nothing that was missed stays missed. The server is asked to end each watch after some minutes, and
for bookmarks, which keep a calm one alive.

In a pod everything but the Service goes without saying: the address is in the environment, the token and the
authority are mounted. The token is read for each question, since it is renewed.
"""

import os
import re
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec
import trio

from lb.core.announced import Announced
from lb.discovery.backend_source import SourceFailed
from lb.discovery.collected import UNREADABLE
from lb.discovery.endpoint_slices import (
    EndpointSlice,
    SliceList,
    change_of,
    joining,
    page_of,
    slice_of,
    status_of,
)
from lb.discovery.token_file import read_token
from lb.http_client.ask_failed import AskFailed
from lb.http_client.asker import Asker
from lb.http_client.conversation import Fields
from lb.http_client.line_stream import LineStream
from lb.http_client.server_url import Server, server_of
from lb.slices import sliced

WHERE = re.compile(r"([a-z0-9-]{1,63})/([a-z0-9-]{1,63})(?::([a-z0-9-]{1,63}))?")
MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 100
WATCH_SECONDS = 290
LATE_SECONDS = 20.0
"""How much later than asked a watch may end."""
SWARM_SECONDS = 0.1
SHORTEST_SECONDS = 1.0
"""A watch that ends sooner, twice in a row, is a failure."""
GONE = 410
CHANGES = ("ADDED", "MODIFIED", "DELETED")


class KubernetesSource:
    """The Service `where`, NAMESPACE/NAME or NAMESPACE/NAME:PORT, the port by name or number.

    `api` is the URL of the API server. Without it, this runs in a pod, and what is not given is that pod's.
    """

    kind = "kubernetes"

    def __init__(
        self,
        where: str,
        *,
        api: str | None = None,
        token_file: str | None = None,
        ca: str | None = None,
        chain: str | None = None,
        key: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        match = WHERE.fullmatch(where)
        if match is None:
            raise ValueError(f"{where!r}: expected NAMESPACE/SERVICE or NAMESPACE/SERVICE:PORT")
        namespace, self._service, self._port = match[1], match[2], match[3] or ""
        self.where = where
        if api is None:
            api = _of_pod(environ)
            ca = ca or str(MOUNTED / "ca.crt")
            token_file = token_file or str(MOUNTED / "token")
        self._token_file = token_file
        self._server: Server = server_of(api, ca=ca, chain=chain, key=key)[0]
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._asker = Asker(self._server, keeps=True)
        self._slices: dict[str, EndpointSlice] = {}

    def look_again(self) -> None:
        """A connection to a backend has failed; of what there is the API server tells anyway."""

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """As in `Source`."""
        short = 0
        try:
            while short < 2:
                version = await self._list()
                tell(await self._joined())
                began = trio.current_time()
                why = await self._watch(version, tell)
                short = short + 1 if trio.current_time() - began < SHORTEST_SECONDS else 0
            raise SourceFailed(f"{self._server}: GET {self._path}: {why}")
        except AskFailed as exc:
            raise SourceFailed(str(exc)) from exc
        except UNREADABLE as exc:
            raise SourceFailed(f"{self._server}: GET {self._path}: it is no EndpointSlice: {exc}") from exc
        finally:
            self._asker.close()

    async def _joined(self) -> Announced:
        announced = await sliced(joining([*self._slices.values()], self._port))
        if self._slices:
            return announced
        return msgspec.structs.replace(announced, skipped=(f"{self.where}: there is no EndpointSlice of it",))

    # -- the list ----------------------------------------------------------------------------------------

    async def _list(self) -> str:
        """Have all slices as they are now; returns the version from which to watch."""
        slices: dict[str, EndpointSlice] = {}
        limit, going_on = str(PAGE), ""
        while True:
            query = {name: value for name, value in (("limit", limit), ("continue", going_on)) if value}
            answer = await self._asker.ask("GET", self._target(query), fields=await self._fields())
            if answer.status == GONE and going_on:  # its pages were too old: all at once
                slices, limit, going_on = {}, "", ""
                continue
            page = page_of(answer.expect(200).body)
            await sliced(_reading(page, slices))
            going_on = page.metadata.going_on
            if not going_on:
                self._slices = slices
                return page.metadata.resource_version

    def _target(self, query: dict[str, str]) -> str:
        selector = {"labelSelector": f"kubernetes.io/service-name={self._service}"}
        return f"{self._path}?{urlencode(selector | query, quote_via=quote)}"

    async def _fields(self) -> Fields:
        token = await read_token(self._token_file)
        return (("Authorization", f"Bearer {token}"),) if token is not None else ()

    # -- the watch ---------------------------------------------------------------------------------------

    async def _watch(self, version: str, tell: Callable[[Announced], None]) -> str:
        """Tell each change, until the watch ends; returns how."""
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        deadline = trio.current_time() + WATCH_SECONDS + LATE_SECONDS
        try:
            async with self._asker.open_lines(
                "GET", self._target(query), fields=await self._fields()
            ) as lines:
                with trio.move_on_at(deadline):
                    return await self._follow(lines, tell)
        except AskFailed as exc:
            if exc.status == GONE:
                return str(exc)
            raise
        raise SourceFailed(f"{self._server}: GET {self._path}: its watch has not ended when it should have")

    async def _follow(self, lines: LineStream, tell: Callable[[Announced], None]) -> str:
        while batch := await lines.batch(SWARM_SECONDS):
            is_news, why = await sliced(self._hearing(batch))
            if why:
                return why
            if is_news:
                tell(await self._joined())
        return "its watch ended"

    def _hearing(self, batch: list[bytes]) -> Generator[None, None, tuple[bool, str]]:
        """Change the slices as these lines say: whether they did, and why the watch is over if it is."""
        is_news = False
        for line in batch:
            change = change_of(line)
            if change.type == "ERROR":
                return is_news, self._error(change.object)
            if change.type in CHANGES:
                is_news |= self._changed(change.type, slice_of(change.object))
            yield
        return is_news, ""

    def _changed(self, kind: str, each: EndpointSlice) -> bool:
        if kind == "DELETED":
            return self._slices.pop(each.metadata.name, None) is not None
        self._slices[each.metadata.name] = each
        return True

    def _error(self, raw: msgspec.Raw) -> str:
        """How a watch ended that has told of an error; SourceFailed where the list is no help."""
        status = status_of(raw)
        why = f"its watch said {status.code} {status.reason}: {status.message}"
        if status.code == GONE:
            return why
        raise SourceFailed(f"{self._server}: GET {self._path}: {why}")


def _reading(page: SliceList, into: dict[str, EndpointSlice]) -> Generator[None, None, None]:
    for raw in page.items:
        each = slice_of(raw)
        into[each.metadata.name] = each
        yield


def _of_pod(environ: Mapping[str, str]) -> str:
    """The URL of the API server, as each pod is told; its name in the cluster where nothing was told."""
    host = environ.get("KUBERNETES_SERVICE_HOST") or "kubernetes.default.svc"
    port = environ.get("KUBERNETES_SERVICE_PORT") or "443"
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
